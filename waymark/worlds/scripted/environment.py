"""A small fixed world in ScienceWorld's wording: for tests of the loop, and for trying the stack without Java.

Three rooms and one task, whatever task and variation are asked for: find a non-living thing, focus on it, move it
to the red box in the kitchen. Focusing on one is worth 50 points, boxing it the other 50; focusing on a living
thing leaves -100, and the end to the loop, as the simulator does. Two cups stand in the kitchen, so `pick up cup`
is ambiguous there. Doors are open and `teleport to …` works, as with the `easy` simplifications. Deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass

from waymark.contracts import Opening
from waymark.errors import UnparsableAction
from waymark.worlds.base import Step
from waymark.worlds.scienceworld import actions
from waymark.worlds.scienceworld.simplifications import check_simplifications
from waymark.worlds.scienceworld.tasks import check_variation, find_task

TASK = (
    "Your task is to find a(n) non-living thing. First, focus on the thing. "
    "Then, move it to the red box in the kitchen."
)
SOLUTION = ("focus on picture", "pick up picture", "teleport to kitchen", "move picture to red box")
_UNKNOWN = "No known action matches that input."
_DOORS = {"hallway": ("kitchen", "outside"), "kitchen": ("hallway",), "outside": ("hallway",)}
_HELD, _BOX = "inventory", "red box"
_MOVES = {"SEE": 0, "INVENTORY": 0, "TASK": 0, "WAIT": 11, "WAIT1": 2}  # any other known action is one move


@dataclass
class _Thing:
    name: str
    place: str
    living: bool


_THINGS = (
    ("orange", _HELD, True),
    ("picture", "hallway", False),
    ("cup", "kitchen", False),
    ("cup", "kitchen", False),
    ("thermometer", "kitchen", False),
    ("axe", "outside", False),
    ("dove", "outside", True),
)


class ScriptedEnvironment:
    """Implements `waymark.worlds.base.Environment` in plain Python."""

    def __init__(self) -> None:
        self._begin()

    def reset(self, task_id: str, variation: int, options: str) -> Opening:
        """Begin the episode again, the same for every task and variation.

        Raises InvalidInput for what ScienceWorld does not have: a task, a variation or a simplification.
        """
        task = find_task(task_id)
        check_variation(task, variation)
        check_simplifications(options, [task])
        return self._begin()

    def _begin(self) -> Opening:
        self._room = "hallway"
        self._things = [_Thing(*thing) for thing in _THINGS]
        self._focused: _Thing | None = None
        self._score = self._moves = 0
        return Opening(task=TASK, look=self._look(), inventory=self._inventory())

    def gold_path(self, task_id: str, variation: int, options: str) -> list[str]:
        """The shortest solution. Raises InvalidInput as `reset` does."""
        self.reset(task_id, variation, options)
        return list(SOLUTION)

    def step(self, action: str) -> Step:
        """Take one action; of several things of one name the first is meant, as reading 0 of the simulator's."""
        try:
            parsed = actions.parse(action)
        except UnparsableAction:
            return self._after(None)
        matching = self._visible(parsed.args[0]) if parsed.args else []
        observation = self._act(parsed, matching[0] if matching else None)
        if observation is not None:
            self._moves += _MOVES.get(parsed.verb, 1)
        return self._after(observation, ambiguous=observation is not None and len(matching) > 1)

    def valid_actions(self) -> list[str]:
        """Every canonical action that `step` would understand now, sorted."""
        valid = ["look around", "inventory", "task", "wait", "wait1", *(f"teleport to {room}" for room in _DOORS)]
        for room in _DOORS[self._room]:
            valid += [f"go to {room}", f"open door to {room}"]
        for name in {thing.name for thing in self._visible()}:
            valid += [f"{verb} {name}" for verb in ("look at", "examine", "focus on", "pick up", "put down")]
            valid += [f"move {name} to {place}" for place in self._places()]
        return sorted(valid)

    def close(self) -> None:
        """Nothing is held."""

    def _act(self, action: actions.Action, thing: _Thing | None) -> str | None:
        """Do it and say what happened, in the simulator's words; None for what it would not understand."""
        if thing is not None:
            return self._handle(action, thing)
        match action.verb, action.args:
            case "SEE", ():
                return self._look()
            case "INVENTORY", ():
                return self._inventory()
            case "TASK", ():
                return f"Task description:\n{TASK}"
            case "WAIT" | "WAIT1" as verb, ():
                return f"You decide to wait for {10 if verb == 'WAIT' else 1} iterations."
            case "TELEPORT", (room,) if room in _DOORS:
                self._room = room
                return f"You teleport to the {room}."
            case "GO", (room,) if room in _DOORS[self._room]:
                self._room = room
                return f"You move to the {room}."
            case "OPEN_DOOR", (room,) if room in _DOORS[self._room]:
                return "The door is already open."
        return None

    def _handle(self, action: actions.Action, thing: _Thing) -> str | None:
        match action.verb, *action.args[1:]:
            case ("LOOK" | "EXAMINE",):
                return f"a {thing.name}"
            case ("FOCUS",):
                self._focused = self._focused or thing
                self._score = -100 if thing.living else max(50, self._score)
                return f"You focus on the {thing.name}."
            case ("PICK",):
                return self._move(thing, _HELD)
            case ("DROP",):
                return self._move(thing, self._room)
            case "MOVE", place if place in self._places():
                return self._move(thing, place)
        return None

    def _move(self, thing: _Thing, place: str) -> str:
        thing.place = place
        if place == _BOX and thing is self._focused and self._score == 50:
            self._score = 100
        return f"You move the {thing.name} to the {place}."

    def _after(self, observation: str | None, *, ambiguous: bool = False) -> Step:
        known, completed = observation is not None, self._score == 100
        text, look, held = observation or _UNKNOWN, self._look(), self._inventory()
        return Step(text, look, held, self._score, self._moves, completed, known, ambiguous)

    def _places(self) -> tuple[str, ...]:
        return (_HELD, self._room, *([_BOX] if self._room == "kitchen" else []))

    def _visible(self, name: str | None = None) -> list[_Thing]:
        """Things in reach: all, or those of that name, which may say where they are (`orange in inventory`)."""
        reach = [thing for thing in self._things if thing.place in self._places()]
        return [near for near in reach if name is None or name in (near.name, f"{near.name} in {near.place}")]

    def _look(self) -> str:
        lines = [f"This room is called the {self._room}. In it, you see: ", "the agent", "a substance called air"]
        lines += [f"a {thing.name}" for thing in self._things if thing.place == self._room]
        if self._room == "kitchen":
            boxed = ", ".join(f"a {thing.name}" for thing in self._things if thing.place == _BOX)
            lines.append(f"a {_BOX} (containing {boxed or 'nothing'})")
        doors = "\n\t".join(f"A door to the {room} (that is open)" for room in _DOORS[self._room])
        return "\n\t".join(lines) + f"\nYou also see:\n\t{doors}\n"

    def _inventory(self) -> str:
        held = [f"\ta {thing.name}" for thing in self._things if thing.place == _HELD]
        return "\n".join(["In your inventory, you see:", *(held or ["\tnothing"])]) + "\n"
