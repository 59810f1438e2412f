"""Hostile texts: what makes a regular expression, or code around one, slower than in proportion to its input."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from re import _constants as sre
from re import _parser
from types import ModuleType
from typing import Any

import waymark
from waymark.contracts import AgentState, Turn

SHORT, LONG = 5_000, 20_000
"""Characters of the two texts whose times are compared."""
GROWTH = 6.0
"""The longer text may take so many times as long as the shorter one; in proportion would be 4, quadratic is 16."""
_UNMEASURABLE = 0.004
"""Seconds of the longer text below which the ratio says nothing."""
_TRIES = 4
_SHAPES = (
    "1",
    " ",
    "a",
    ",",
    "(",
    ")",
    "()",
    "((a, ",
    " , ",
    "1 ",
    "- 1 ",
    "a b ",
    "\n",
    "\n\t",
    "a, ",
    ". ",
    "é",
    "<think>",
    "a-",
)


@dataclass(frozen=True)
class PlacedPattern:
    """A compiled pattern and where it stands."""

    place: str
    pattern: re.Pattern[str]


def patterns(package: ModuleType = waymark) -> list[PlacedPattern]:
    """Every pattern of a package: compiled in its modules, or written in a call such as `re.sub("…", text)`."""
    patterns_by_text: dict[str, PlacedPattern] = {}
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if info.name.endswith("__main__"):
            continue
        try:
            module = importlib.import_module(info.name)
        except ModuleNotFoundError:  # an optional library is missing
            continue
        for name, value in list(vars(module).items()):
            for pattern in _compiled(value, 4):
                patterns_by_text.setdefault(pattern.pattern, PlacedPattern(f"{info.name}.{name}", pattern))
        assert module.__file__ is not None
        for line, text, flags in _inline(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
            patterns_by_text.setdefault(text, PlacedPattern(f"{info.name}:{line}", re.compile(text, flags)))
    return list(patterns_by_text.values())


def _compiled(value: Any, depth: int) -> Iterator[re.Pattern[str]]:
    if isinstance(value, re.Pattern):
        if isinstance(value.pattern, str):
            yield value
    elif depth and isinstance(value, dict):
        for item in value.values():
            yield from _compiled(item, depth - 1)
    elif depth and isinstance(value, tuple | list | frozenset):
        for item in value:
            yield from _compiled(item, depth - 1)


def _inline(tree: ast.AST) -> Iterator[tuple[int, str, int]]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "re"):
            continue
        if node.func.attr == "escape":
            continue
        text = _constant(node.args[0])
        if text is not None:
            flags = ast.unparse(ast.Tuple(elts=[*node.args[1:], *(keyword.value for keyword in node.keywords)]))
            names = re.findall(r"re\.([A-Z]+)\b", flags)
            yield node.lineno, text, sum(getattr(re, name) for name in names)


def _constant(node: ast.expr) -> str | None:
    """The text of a pattern; a name that is put into an f-string stands as `thing`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [value.value if isinstance(value, ast.Constant) else "thing" for value in node.values]
        return "".join(map(str, parts))
    return None


def texts(pattern: re.Pattern[str], size: int) -> Iterator[str]:
    """Texts of that size: some shapes, and what the pattern almost matches, over and over."""
    for shape in dict.fromkeys([*_SHAPES, *_almost(pattern)]):
        if shape:
            yield (shape * (size // len(shape) + 1))[:size]


def _almost(pattern: re.Pattern[str]) -> Iterator[str]:
    for sample in _samples(_parser.parse(pattern.pattern, pattern.flags)):
        for cut in range(1, len(sample) + 1):
            yield sample[:cut]
        for cut in range(1, len(sample), 3):
            yield sample[cut:]


def _samples(parsed: Any) -> Iterator[str]:
    """A few texts that the pattern matches, or nearly: one for each way through its first choices."""
    samples = [""]
    for operator, argument in parsed:
        parts = list(_parts(operator, argument))[:4] or [""]
        samples = [beginning + part for beginning in samples for part in parts][:6]
    yield from dict.fromkeys(samples)


def _parts(operator: Any, argument: Any) -> Iterator[str]:
    if operator is sre.LITERAL:
        yield chr(argument)
    elif operator in (sre.ANY, sre.NOT_LITERAL):
        yield "x"
    elif operator is sre.IN:
        yield _member(argument)
    elif operator is sre.BRANCH:
        for branch in argument[1]:
            yield from _samples(branch)
    elif operator is sre.SUBPATTERN:
        yield from _samples(argument[3])
    elif operator in (sre.MAX_REPEAT, sre.MIN_REPEAT, getattr(sre, "POSSESSIVE_REPEAT", None)):
        yield from _samples(argument[2])
        if argument[0] == 0:
            yield ""
    elif operator is getattr(sre, "ATOMIC_GROUP", None):
        yield from _samples(argument)


def _member(members: Any) -> str:
    operator, argument = members[0]
    if operator is sre.LITERAL:
        return chr(argument)
    if operator is sre.RANGE:
        return chr(argument[0])
    if operator is sre.CATEGORY:
        return {sre.CATEGORY_DIGIT: "7", sre.CATEGORY_SPACE: " "}.get(argument, "w")
    return "x"


def growth_of(work: Callable[[str], object], short: str, long: str) -> float:
    """How many times as long the longer text takes; 0 where that cannot be measured. The least of a few tries.

    What is far out of proportion at a tenth of the sizes already is not tried at the whole of them: it may take hours.
    """
    least = float("inf")
    tenth = _seconds(work, long[: LONG // 10])
    if tenth > _UNMEASURABLE and (early := tenth / max(_seconds(work, short[: SHORT // 10]), 1e-9)) > 2 * GROWTH:
        return early
    for _ in range(_TRIES):
        seconds = _seconds(work, long)
        if seconds < _UNMEASURABLE:
            return 0.0
        least = min(least, seconds / max(_seconds(work, short), 1e-9))
        if least <= GROWTH:
            return least
    return least


def _seconds(work: Callable[[str], object], text: str) -> float:
    began = time.thread_time()
    work(text)
    return time.thread_time() - began


SCENE_SHAPES = (
    *_SHAPES,
    "a tin, ",
    "\n\ta tin",
    "you see: \n\ta b (containing c), ",
    "You also see:",
    " in the in the",
    ". on the table is: nothing",
    " on the a is: a b",
    "room is called the ",
    "whether a seed  trait in a plant if ",
    "need to mix a , b , ",
    "red light bulb, which is on ",
    "holds ( holds ) ",
    "a substance called a ",
    "1.0 degrees celsius ",
    "1 degrees ",
    "- 1 down ",
    "a (b) , ",
    "(that is open) ",
    "if focus on red box ",
    "solid egg seed in a stage ",
)
"""What scenes, answers and tasks are made of, over and over."""


def state(shape: str, *, turns: int = 1_000, body_bytes: int = 4_000_000) -> AgentState:
    """As large a state as a service admits, of one shape in all of its texts."""

    def filled(size: int) -> str:
        return (shape * (size // len(shape) + 1))[:size]

    room = (body_bytes - 700_000) // max(1, turns) // len(json.dumps(shape)[1:-1].encode()) * len(shape)
    observation = filled(min(20_000, max(1, room - 520)))
    actions = (
        "read " + filled(490),
        "use thermometer on " + filled(480),
        "look at flower pot",
        "connect " + filled(480),
    )
    return AgentState(
        task=filled(4_000),
        look=("This room is called the kitchen. You see:" + filled(19_900)),
        inventory="In your inventory, you see:\n" + filled(19_900),
        observation=filled(20_000),
        step=turns + 1,
        turns=tuple(
            Turn(action=actions[number % 4], observation=f"{number} {observation}"[: len(observation)])
            for number in range(turns)
        ),
        visited_rooms=(filled(500),) * 200,
        completed_subgoals=(filled(500),) * 400,
        current_subgoal=filled(500),
        subgoal_step=1,
    )
