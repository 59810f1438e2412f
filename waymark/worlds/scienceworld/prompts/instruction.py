"""The instruction of a task in a prompt, whole or without the clauses that readings rule out."""

from __future__ import annotations

from waymark.contracts import AgentState
from waymark.worlds.scienceworld.prompts.text_normalisation import plain
from waymark.worlds.scienceworld.scene import BOX

_TASK_WORDS = 90
_OPPOSITES = {
    word: opposite
    for pair in (("above", "below"), ("conductive", "nonconductive"), ("dominant", "recessive"))
    for word, opposite in (pair, pair[::-1])
}
"""Words of readings that say which clause of a task holds, with the word of the clause that each one rules out."""


def task(state: AgentState) -> str:
    """The instruction."""
    return " ".join(plain(state.task).removeprefix("your task is to ").split()[:_TASK_WORDS])


def remaining_instruction(state: AgentState, read: str) -> str:
    """The instruction without the clauses that the `readings` rule out. For example, after `dominant` was read, the
    clause with `recessive` is left out, up to its box. If the readings say both words, as before and after a thing
    melts, both clauses stay.

    Small models do not find the clause that holds. The model still decides whether and when to answer.
    """
    words = set(read.split(" "))
    ruled_out = {_OPPOSITES[word] for word in _OPPOSITES.keys() & words} - words
    text, *clauses = f" {task(state)}".split(" if ")
    for clause in clauses:
        box = BOX.search(clause)
        text += clause[box.end() :] if box and ruled_out.intersection(clause.split(" ")) else f" if {clause}"
    return text.strip()
