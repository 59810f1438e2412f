"""How our own formats word things: a look, an inventory, an answer, actions, readings, sub-goals.

Everything becomes lower-case words between single spaces, so that a name looks the same wherever it stands and a
model can copy it word for word. What every room has goes: air, articles, empty surfaces, open doors; about a fifth
of the text is left. Numbers to compare are written digit by digit at equal length, names with hyphens word by word.

Decisions: a sub-goal `move(apple, red box)` is written `move apple , red box`, an action is the environment's own
string, and the end of a sub-goal is `end`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise

from waymark.caching import ByteCache
from waymark.contracts import AgentState, Role, Turn
from waymark.errors import UnparsableAction
from waymark.worlds.scienceworld.prompts.bounds import CHARACTERS_A_WORD, TEXT_CHARACTERS
from waymark.worlds.scienceworld.rules.risk import BOX
from waymark.worlds.scienceworld.scene import OTHER_THINGS, canonical, room_of

HISTORY = 40
"""The number of past turns in which readings are looked for."""
READS = ("read ", "use thermometer on ", "look at inclined plane")
"""Actions whose answers are readings."""
READING_WORDS = 24
_END = "end"
_CACHE_BYTES = 4_000_000
"""The size of either cache; the lines of an episode take about 10 kB."""
_SUBGOALS = 12
_INGREDIENTS = 16
_RECIPE_CHARACTERS = 2_000
_READINGS = 3
_NAMED = 6
_ANOTHER = tuple(f"{word} " for word in OTHER_THINGS)
_FURNITURE = ("table", "counter", "desk", "chair", "couch", "bed", "cupboard", "large cupboard", "closet")
_NOWHERE = ("", *_FURNITURE)
"""Places whose things count as lying in the room itself."""
_TASK_WORDS = 90
_OPPOSITES = {
    word: opposite
    for pair in (("above", "below"), ("conductive", "nonconductive"), ("dominant", "recessive"))
    for word, opposite in (pair, pair[::-1])
}
"""Words by which readings say which clause of a task holds, with the word that each rules out."""


def _compiled(*rewrites: tuple[str, str]) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(pattern), text) for pattern, text in rewrites)


# Every pattern here takes time in proportion to its text, since a caller may send any.
_EMPTY = _compiled(
    (r"\(containing nothing\)|\(n\)", ""),
    (r"\. on the [a-z ]+ is: nothing\.", ""),
    (r"\. in the [a-z ]+ is: nothing\.", ""),
    (r"\. the [a-z ]+ door is closed\.", " closed"),
    (r"\. the [a-z ]+ door is open\.", " open"),
)
"""Rewritten first: empty things, open and closed doors."""
_REWRITES = _compiled(
    (r"\(containing ", "( "),
    (r", which is turned (on|off)", r" \1"),
    (r", which is (on|off|activated|deactivated)", r" \1"),
    (r", currently reading a temperature of (-?\d+) degrees celsius", r" \1"),
    (r"(?<=\d)\.0 degrees celsius", " degrees celsius"),
    (r"approximately (\d+)% down the plane", r"\1 down"),
    (r"\ba substance called\b", ""),
    # Articles, but not the letter that names an unknown substance, plant or plane.
    (r"(?<!substance )(?<!unknown )(?<!plane )\b(?:a|an|the)\b", ""),
    (r"([(),:;])", r" \1 "),
    (r"\.(?!\d)", " "),
    (r"'", " "),
)
_WORDS = re.compile(r"[a-z ]+")
_HYPHEN = re.compile(r"(?<=[a-z])-(?=[a-z])")
_HYPHEN_APART = re.compile(r"(?<=[a-z]) - (?=[a-z])")
_NUMBER = re.compile(r"(-?)\b(\d+) (degrees|down)\b(?: celsius)?")
READING = re.compile(r"(?P<minus>- )?(?<!\b\d )(?P<digits>\b\d(?: \d)*) (?P<unit>degrees|down)\b")
_LAMP = re.compile(r"\b([a-z]+ (?:light bulb|motor|buzzer)), which is (on|off)\b")
_NOISE = {"agent", "air", "ground"}
_CROSS = re.compile(r"whether ([a-z]+) (seed|plant|leaf|flower) ")
_TRAIT, _PLANT = " trait in ", " plant if"
_CHILD = "look at flower pot"
_RECIPE = re.compile(r"need to mix (.+)")
# A thing in plain, and the mark before it that says what it lies in.
_PART = re.compile(r"(?:(^|[(),]|\bholds\b) ?)((?:(?! holds |[(),]).)*)")
_MARK = re.compile(r" , |[()]")
_SWITCHED = re.compile(r"(?:^| )(?:(?:which|that) is )?(?:open|closed|on|off|activated|deactivated)\b(?s:.*)")
_STATE = re.compile(
    r"^(?:(?:solid|liquid|gaseous|hatchling|baby|juvenile|adult) )+|(?: egg| seed| in [a-z]+ stage(?s:.*))\Z"
)


class Decisions:
    """How decisions are written and read, in every format of ours."""

    def target(self, role: Role, decision: str | None) -> str:
        """The model's output for a decision."""
        if decision is None:
            return _END
        return _apart(words_of_subgoal(decision) if role in ("controller", "first") else decision.lower())

    def parse(self, role: Role, text: str) -> str | None:
        """The inverse of `target`, in lower case."""
        words = _HYPHEN_APART.sub("-", " ".join(text.split()))
        if not words:
            raise UnparsableAction("The model wrote nothing.", remedy="Ask for more alternatives.")
        if role in ("controller", "first"):
            return _subgoal_of_words(words)
        return None if words == _END else words


def join(parts: Sequence[str]) -> str:
    """Parts of a prompt, those that are empty left out."""
    return _apart(" | ".join(part for part in parts if part))


def _apart(text: str) -> str:
    """`yellow-orange` as `yellow - orange`: what a name is made of can be read, and copied, word by word."""
    return _HYPHEN.sub(" - ", text)


def _rewritten(text: str) -> str:
    text = canonical(text.lower())
    for pattern, replacement in _EMPTY:
        text = pattern.sub(replacement, text)
    text = _holds(text, " in the ", (" is",))
    text = _holds(text, " on the ", (" is", " you see"), dot=True)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return " ".join(_NUMBER.sub(_digits, text).split())


def _holds(text: str, opening: str, endings: tuple[str, ...], *, dot: bool = False) -> str:
    """`in the red box is: a pin` as `holds a pin`, `dot` with a full stop before it: all of `OPENING … ENDING: `.

    A regular expression would begin at each opening and look as far as the next colon.
    """
    if ": " not in text:
        return text
    parts: list[str] = []
    at = 0
    for words in _WORDS.finditer(text):
        ending = next((known for known in endings if text.endswith(known, words.start(), words.end())), None)
        if ending is None or not text.startswith(": ", words.end()):
            continue
        begin = max(words.start(), at)
        place = text.find(opening, begin, words.end() - len(ending) - 1)
        if place < 0:
            continue
        follows = dot and place == words.start() > at and text[place - 1] == "."
        parts += [text[at : place - follows], " holds "]
        at = words.end() + len(": ")
    return "".join([*parts, text[at:]])


# Rooms say the same lines step after step, and rewriting them is most of what rendering costs.
plain = ByteCache(_rewritten, _CACHE_BYTES, sys.getsizeof)
"""Lower-case words between single spaces, boilerplate gone."""


def shortened(text: str, words: int) -> str:
    """Its first words, in plain."""
    return " ".join(plain(text[: words * CHARACTERS_A_WORD]).split()[:words])


def task(state: AgentState) -> str:
    """The instruction."""
    return " ".join(plain(state.task).removeprefix("your task is to ").split()[:_TASK_WORDS])


def asked(state: AgentState, read: str) -> str:
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


def seen(state: AgentState) -> str:
    """Every room that was visited."""
    return "seen " + " , ".join(room.lower() for room in state.visited_rooms)


def scene(state: AgentState) -> list[str]:
    """What is here and what is carried."""
    return _scene(state, _lines(state.look))


def _scene(state: AgentState, things: Sequence[str]) -> list[str]:
    room, carried = room_of(state.look) or "", _lines(state.inventory)
    return [f"room {room} : {' , '.join(things)}", f"have {' , '.join(carried)}"]


def _digits(match: re.Match[str]) -> str:
    """`85 degrees` as `0 0 8 5 degrees`, `5 down` as `0 0 5 down`: numbers that are compared align."""
    sign, number, unit = match.groups()
    width = 4 if unit == "degrees" else 3
    return " ".join([*(["-"] if sign else []), *number.zfill(width), unit])


def _lines(text: str) -> list[str]:
    """What a look or an inventory lists, in plain, a line each; open doors are left out, closed ones kept."""
    _, opened, rest = text.partition("you see:")
    lines = re.split(r"\n|You also see:", rest) if opened else text.splitlines()[1:]
    things = []
    for line in lines:
        if line.strip().lower().startswith("a door to") and "open" in line:
            continue
        thing = plain(line).strip(" ,:")
        if thing and thing not in _NOISE:
            things.append(thing)
    return things


def searched(state: AgentState, instruction: str) -> list[str]:
    """What an instruction or a recipe names and is in sight, each with what it lies in: `here lead in metal pot`; then
    the scene, with that first in the room, taken off the furniture.

    Small models overlook the things of the task among twenty others, above all in places where they never lay in
    training.
    """
    named = _named(state, instruction)
    here = [f"{name} in {holder}" if holder not in _NOWHERE else name for name, holder in named]
    lying = {name for name, holder in named if holder in _NOWHERE}
    first: list[str] = []
    others: list[str] = []
    for line in _lines(state.look):
        furniture, holds, rest = line.partition(" holds ")
        things = _split(rest) if holds and _SWITCHED.sub("", furniture) in _FURNITURE else []
        taken = [thing for thing in things if thing in lying]
        if not taken:
            named_itself = any(name in lying for name, _ in _listed_again(line)[:1])
            (first if named_itself else others).append(line)
            continue
        first += taken
        left = [thing for thing in things if thing not in lying]
        others.append(f"{furniture} holds {' , '.join(left)}" if left else furniture)
    return ["here " + (" , ".join(list(dict.fromkeys(here))[:_NAMED]) or "nothing"), *_scene(state, [*first, *others])]


def _split(text: str) -> list[str]:
    """Things between commas, but not those that lie in one of them: ` , ` with no closing parenthesis next."""
    marks = [(match.start(), match.group()) for match in _MARK.finditer(text)]
    places, after = [], ""
    for place, mark in reversed(marks):
        if mark != " , ":
            after = mark
        elif after != ")":
            places.append(place)
    bounds = [-len(" , "), *reversed(places), len(text)]
    return [text[begin + len(" , ") : end] for begin, end in pairwise(bounds)]


def _named(state: AgentState, instruction: str) -> list[tuple[str, str]]:
    """The things that are named and in sight, with what holds them."""
    ingredients = _ingredients(state)
    return [
        (name, holder)
        for name, holder in [*_listed(state.look), *_listed(state.inventory)]
        if _is_mentioned(name, instruction) or any(_is_ingredient(name, ingredient) for ingredient in ingredients)
    ]


def _is_mentioned(name: str, text: str) -> bool:
    """Whether a text names a thing, whatever its state of matter or its age; an orange box is no orange."""
    called = _STATE.sub("", name)
    if called not in text:
        return False
    after = f"{text} ".split(f" {called} ")[1:] if called else []
    return any(not rest.startswith(_ANOTHER) for rest in after)


def _is_ingredient(name: str, asked: str) -> bool:
    """Whether a thing is an ingredient that a recipe asks for; a red apple is an apple."""
    return f" {name}".endswith(f" {asked}") and not name.startswith("recipe ")


def _ingredients(state: AgentState) -> list[str]:
    """The ingredients of the recipe that was read last."""
    turns = reversed(state.turns[-HISTORY:])
    instructions = next((turn.observation for turn in turns if turn.acted.lower().startswith("read ")), "")
    recipe = _RECIPE.search(plain(instructions[:_RECIPE_CHARACTERS]))
    return recipe[1].split(" , ")[:_INGREDIENTS] if recipe else []


def _listed(text: str) -> Iterator[tuple[str, str]]:
    """The things of a look or an inventory, in order, each with what holds it; empty for what stands in the room."""
    for line in _lines(text):
        yield from _listed_again(line)


def _things_of(line: str) -> tuple[tuple[str, str], ...]:
    listed: list[tuple[str, str]] = []
    within: list[tuple[str, str]] = []
    for mark, part in _PART.findall(line):
        while mark == ")" and within and within.pop()[0] != "(":
            pass
        if mark in ("(", "holds") and listed:
            within.append((mark, listed[-1][0]))
        if name := _SWITCHED.sub("", part.strip()):
            listed.append((name, within[-1][1] if within else ""))
    return tuple(listed)


def _bytes_of(listed: tuple[tuple[str, str], ...]) -> int:
    return sum(sys.getsizeof(pair) + sum(map(sys.getsizeof, pair)) for pair in listed)


_listed_again = ByteCache(_things_of, _CACHE_BYTES, _bytes_of)


def actions(heading: str, turns: Sequence[Turn], most: int) -> str:
    """The last actions, at most `most`."""
    recent = turns[max(0, len(turns) - most) :]
    return f"{heading} " + " ; ".join(turn.acted.lower() for turn in recent) if recent else ""


def since(state: AgentState) -> Sequence[Turn]:
    """The turns since the current sub-goal was given; all turns where that is not known."""
    if state.subgoal_step is None:
        return state.turns
    return state.turns[max(0, len(state.turns) - max(0, state.step - state.subgoal_step)) :]


def readings(state: AgentState) -> str:
    """What instruments said, each question with its latest answer, in the order in which they were first asked; then,
    once something was connected, what a circuit lights, and, once a child is seen, what a cross says.

    A number is marked `above` or `below` the numbers of its unit in the task, else those of the other readings, because
    small models compare numbers poorly. The mark follows the name of what was measured, because an answer copies that.
    """
    latest = latest_readings(state)
    named, measured = _values(task(state)), _values(" ; ".join(answer for _, answer in latest))
    compared = {unit: named.get(unit, values) for unit, values in measured.items()}
    read = [_placed(action, answer, compared) for action, answer in latest]
    read += [*circuit(state), *crossed(state)]
    return "read " + " ; ".join(read) if read else ""


def plain_readings(state: AgentState) -> str:
    """What instruments said, as `readings`, but each answer as it was given and without what follows from it."""
    read = [f"{action} : {answer}" for action, answer in latest_readings(state)]
    return "read " + " ; ".join(read) if read else ""


def latest_readings(state: AgentState) -> list[tuple[str, str]]:
    """The last questions to instruments, in the order in which they were first asked, with their latest answers."""
    answers: dict[str, str] = {}
    for turn in state.turns[max(0, len(state.turns) - HISTORY) :]:
        action = turn.acted.lower()
        if action.startswith(READS):
            answers[action] = shortened(turn.observation, READING_WORDS)
    return list(answers.items())[-_READINGS:]


def circuit(state: AgentState) -> list[str]:
    """Which lamps or motors here are on, once something was connected: the answer of a circuit as a reading."""
    lamps = _LAMP.findall(state.look.lower())
    if not lamps or not any(turn.acted.lower().startswith("connect ") for turn in state.turns[-HISTORY:]):
        return []
    lit = [name for name, switched in lamps if switched == "on"]
    return [f"circuit on conductive : {' , '.join(lit)}" if lit else "circuit off nonconductive"]


def crossed(state: AgentState) -> list[str]:
    """What the child of a cross shows, once it does: the trait that was asked for, which is dominant then, or not."""
    text = task(state)
    cross = _CROSS.search(text)
    trait = text.rfind(_TRAIT, cross.end(), max(cross.end(), text.rfind(_PLANT) - 1)) if cross else -1
    if cross is None or trait < 0:
        return []
    value, part = cross.groups()
    begins = trait + len(_TRAIT)
    plant = text[begins : text.index(_PLANT, begins + 1)]
    if part == "seed":
        borne = [name for name, holder in _listed(state.look) if holder.startswith(f"{plant} plant ")]
        shown = [name for name in borne if name.endswith(f" {plant} seed")]
    else:
        looks = (turn for turn in reversed(state.turns) if turn.acted.lower().startswith(_CHILD))
        shown = [plain(turn.observation[:TEXT_CHARACTERS]) for turn in islice(looks, 1)]
    return [f"cross {'dominant' if value in shown[-1].split() else 'recessive'}"] if shown else []


def _values(text: str) -> dict[str, list[int]]:
    """The numbers of a plain text, by their unit."""
    values: dict[str, list[int]] = {}
    for reading in READING.finditer(text):
        values.setdefault(reading["unit"], []).append(value_of(reading))
    return values


def value_of(reading: re.Match[str]) -> int:
    """The number of a match of `READING`."""
    return int(reading["digits"].replace(" ", "")) * (-1 if reading["minus"] else 1)


def _placed(action: str, answer: str, compared: Mapping[str, Sequence[int]]) -> str:
    """A question and its answer; of a reading the number alone, marked if it is above or below all others."""
    reading = READING.search(answer)
    if not reading:
        return f"{action} : {answer}"
    value = value_of(reading)
    others = [other for other in compared[reading["unit"]] if other != value]
    if not others or min(others) < value < max(others):
        return f"{action} : {reading[0]}"
    return f"{action} {'above' if value > max(others) else 'below'} : {reading[0]}"


def subgoals(state: AgentState) -> str:
    """The sub-goals given so far, the current one last."""
    given = [*state.completed_subgoals, *([state.current_subgoal] if state.current_subgoal else [])]
    return "gave " + " ; ".join(words_of_subgoal(subgoal) for subgoal in given[-_SUBGOALS:]) if given else ""


def words_of_subgoal(subgoal: str) -> str:
    """`move(apple, red box)` -> `move apple , red box`."""
    verb, _, rest = subgoal.lower().partition("(")
    arguments = rest.removesuffix(")").split(", ") if rest.removesuffix(")") else []
    return " ".join([verb, " , ".join(arguments)]).strip()


def _subgoal_of_words(words: str) -> str:
    """The inverse of `words_of_subgoal`."""
    verb, _, rest = words.partition(" ")
    return f"{verb}({rest.replace(' , ', ', ')})"
