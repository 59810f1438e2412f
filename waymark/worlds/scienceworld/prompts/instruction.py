"""The instruction of a task in a prompt, whole or without the clauses that readings rule out."""

from __future__ import annotations

from waymark.contracts import AgentState
from waymark.worlds.scienceworld.prompts.text_normalisation import plain
from waymark.worlds.scienceworld.rules.risk import BOX

_TASK_WORDS = 90
_OPPOSITES = {
    word: opposite
    for pair in (("above", "below"), ("conductive", "nonconductive"), ("dominant", "recessive"))
    for word, opposite in (pair, pair[::-1])
}
"""Words by which readings say which clause of a task holds, with the word that each rules out."""


def task(state: AgentState) -> str:
    """The instruction."""
    return " ".join(plain(state.task).removeprefix("your task is to ").split()[:_TASK_WORDS])


def remaining_instruction(state: AgentState, read: str) -> str:
    """The instruction without the clauses that its `readings` rule out: once they say `dominant`, that of `recessive`
    is left out, up to the box that it leads to. Where they say both, as before a thing melts and after, both stay.

    Small models do not find the clause that holds. The model still decides when to answer, and whether to.
    """
    words = set(read.split(" "))
    ruled_out = {_OPPOSITES[word] for word in _OPPOSITES.keys() & words} - words
    text, *clauses = f" {task(state)}".split(" if ")
    for clause in clauses:
        box = BOX.search(clause)
        text += clause[box.end() :] if box and ruled_out.intersection(clause.split(" ")) else f" if {clause}"
    return text.strip()
