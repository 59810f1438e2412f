"""Direct oracle paths: an agent that looks before it acts, in a house small enough to see through."""

from __future__ import annotations

import random
import re

import pytest

from tests.oracle import trajectories
from training.worlds.scienceworld.expert import ROOMS, SCRIPTED_EXPERTS, Solved, Unsolved, Walk
from waymark.contracts import Opening
from waymark.worlds.base import Step


class House:
    """Rooms with things; one cupboard in the kitchen that is shut. Focusing on the treasure solves."""

    def __init__(self, treasure_in: str, *, shut_in: bool = False) -> None:
        self.room = "hallway"
        self.treasure_in = treasure_in
        self.shut = shut_in
        self.actions: list[str] = []

    @property
    def look(self) -> str:
        lines = [f"This room is called the {self.room}. In it, you see:"]
        if self.room == "kitchen":
            lines.append(f"\ta cupboard. The cupboard door is {'closed' if self.shut else 'open'}.")
        if self.room == self.treasure_in and not self.shut:
            lines.append("\ta treasure")
        return "\n".join(lines)

    def step(self, action: str) -> Step:
        self.actions.append(action)
        known, score = True, 0
        if match := re.match(r"teleport to (.+)", action):
            self.room = match.group(1)
        elif action == "open cupboard" and self.room == "kitchen":
            self.shut = False
        elif action == "focus on treasure" and "treasure" in self.look:
            score = 100
        elif action != "wait1":
            known = False
        return Step(
            observation="",
            look=self.look,
            inventory="In your inventory, you see:",
            score=score,
            moves=len(self.actions),
            completed=score == 100,
            known=known,
            ambiguous=False,
        )


class Bench:
    """A workshop with a battery, a lamp, three wires and a fork, whose terminals take one connection each."""

    look = (
        "This room is called the workshop. In it, you see:\n\ta fork\n\ta green box\n\ta red box\n"
        "\ta table. On the table is: a battery, a black wire, a blue wire, a red light bulb, which is off, a grey wire."
    )

    def __init__(self) -> None:
        self.joined: dict[tuple[str, str], tuple[str, str]] = {}

    def step(self, action: str) -> Step:
        observation, score = "", 0
        if action.startswith("connect "):
            near, far = (self.end(end) for end in action.removeprefix("connect ").split(" to "))
            taken = near in self.joined or far in self.joined
            observation = f"{near[1]} on {near[0]} is {'already' if taken else 'now'} connected to {far[1]} on {far[0]}"
            self.joined |= {} if taken else {near: far, far: near}
        elif match := re.match(r"disconnect (.+)", action):
            observation = f"{match[1]} has been disconnected"
            self.joined = {near: far for near, far in self.joined.items() if match[1] not in (near[0], far[0])}
        elif action == "move fork to red box" and self.closed():
            score = 100
        return Step(observation, self.look, "", score, 0, score == 100, known=True, ambiguous=False)

    def end(self, words: str) -> tuple[str, str]:
        match = re.fullmatch(r"(anode|cathode) in (.+)|(.+) (anode|cathode|terminal [12])", words)
        assert match, words
        return (match[2] or match[3], match[1] or match[4])

    def closed(self) -> bool:
        across = {"anode": "cathode", "cathode": "anode", "terminal 1": "terminal 2", "terminal 2": "terminal 1"}
        end, passed = ("battery", "anode"), set[str]()
        while end in self.joined:
            name, terminal = self.joined[end]
            if name == "battery":
                return {"fork", "red light bulb"} <= passed
            passed.add(name)
            end = (name, across[terminal])
        return False


@pytest.mark.parametrize(
    "before",
    [
        [],
        ["connect battery anode to blue wire terminal 2", "connect blue wire terminal 1 to battery cathode"],
        [
            "connect battery anode to black wire terminal 1",
            "connect black wire terminal 2 to cathode in red light bulb",
        ],
    ],
)
def test_a_new_circuit_is_built_whatever_was_connected_before(before: list[str]) -> None:
    bench = Bench()
    task = "determine if fork is electrically conductive. The fork is located around the workshop."
    walker = Walk(bench, Opening(task=task, look=bench.look, inventory=""), ["move fork to red box"])
    walker.follow(["focus on fork", *before])
    with pytest.raises(Solved):
        SCRIPTED_EXPERTS["3-3"](walker)
    laid = [taken_step.action for taken_step in walker.taken[1 + len(before) :]]
    assert laid[-4:] == ["connect grey wire terminal 2 to battery cathode", "wait1", "wait1", "move fork to red box"]


def test_a_circuit_that_is_closed_is_left_as_it_is() -> None:
    bench = Bench()
    task = "determine if fork is electrically conductive. The fork is located around the workshop."
    first = Walk(bench, Opening(task=task, look=bench.look, inventory=""), ["move fork to red box"])
    first.follow(["focus on fork"])
    with pytest.raises(Solved):
        SCRIPTED_EXPERTS["3-3"](first)
    again = Walk(Bench(), Opening(task=task, look=bench.look, inventory=""), ["move fork to red box"])
    again.follow([step_.action for step_ in first.taken[:-3]])
    with pytest.raises(Solved):
        SCRIPTED_EXPERTS["3-3"](again)
    assert [step_.action for step_ in again.taken[-4:-1]] == [first.taken[-4].action, "wait1", "wait1"]


def walk(house: House, perturbation_rate: float = 0.0) -> Walk:
    opening = Opening(task="Find the treasure.", look=house.look, inventory="")
    return Walk(house, opening, oracle=["focus on treasure"], perturbation_rate=perturbation_rate, rng=random.Random(3))


def test_rooms_are_searched_in_order_until_the_thing_is_seen() -> None:
    house = House("art studio")
    walk(house).find("treasure")
    assert house.actions == [f"teleport to {room}" for room in ROOMS[: ROOMS.index("art studio") + 1]]


def test_containers_are_opened_before_the_next_room_is_searched() -> None:
    house = House("kitchen", shut_in=True)
    walk(house).find("treasure")
    assert house.actions == ["teleport to kitchen", "open cupboard"]


def test_missing_things_are_given_up() -> None:
    with pytest.raises(Unsolved, match="nowhere"):
        walk(House("attic")).find("treasure")


def test_an_unknown_action_ends_the_path() -> None:
    path = walk(House("kitchen"))
    with pytest.raises(Unsolved, match="not known"):
        path.act("juggle")
    assert path.taken == []


def test_perturbations_are_marked_and_the_way_back_is_not() -> None:
    house = House("art studio")
    path = walk(house, perturbation_rate=0.5)
    path.find("treasure")
    path.go("art studio")
    with pytest.raises(Solved):
        path.act("focus on treasure")
    assert path.solved
    assert any(taken.is_perturbation for taken in path.taken)
    direct = [taken.action for taken in path.taken if not taken.is_perturbation]
    assert direct[0] == "teleport to kitchen"
    assert direct[-1] == "focus on treasure"


def test_direct_paths_focus_only_on_what_is_in_sight() -> None:
    looked = 0
    for trajectory in trajectories():
        if trajectory.form != "direct":
            continue
        seen = trajectory.look + trajectory.inventory
        for step in trajectory.steps:
            thing = re.sub(r" in .*", "", step.action.removeprefix("focus on "))
            if step.known and step.action.startswith("focus on ") and "inclined plane" not in thing:
                assert thing.split()[-1] in seen.lower(), (trajectory.key, step.action)
                looked += 1
            seen = step.look + step.inventory
    assert looked > 1000
