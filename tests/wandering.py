"""Episodes in which every decision is drawn from a seed: they meet rules that played tasks rarely meet.

Scenes are those of recorded play; the models answer at random with sub-goals and actions that fit the scene, repeat
earlier ones, name what is not there, are misspelt, or are no decisions at all. Nothing here uses the code under test.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from tests.answers import action_answer, subgoal_answer
from waymark.clients.chat import Answer, Message
from waymark.contracts import (
    ActionAlternative,
    ActionResponse,
    AgentState,
    Opening,
    SubgoalAlternative,
    SubgoalResponse,
)
from waymark.loadtest.sample_states import sample
from waymark.worlds.base import Step

UNKNOWN = "No known action matches that input."
ROOMS = ("kitchen", "hallway", "workshop", "greenhouse", "outside", "art studio", "bathroom")
MALFORMED = ("apple()", "move(red apple)", "focus_on()", "sing(song)", "pick_up(moon)", "open(door)")
_THING = re.compile(r"\ban? (?:substance called )?([a-z]+(?: [a-z]+){0,2})")


def trained() -> list[str]:
    """Sub-goals that the controller was trained on."""
    return files("waymark.worlds.scienceworld").joinpath("training_subgoals.txt").read_text().splitlines()


def things_listed(text: str) -> list[str]:
    """What a look or an inventory lists, roughly."""
    names = (name.removesuffix(" in").strip() for name in _THING.findall(text))
    return list(dict.fromkeys(names)) or ["air"]


class WanderingEnvironment:
    """Implements `Environment`: known actions lead at random to the scenes of recorded play."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._begin()

    def _begin(self) -> None:
        self._rng = random.Random(f"environment {self._seed}")
        self._states = [decision.state for decision in sample()]
        self._now = self._rng.choice(self._states)
        self._score = self._moves = 0

    def reset(self, task_id: str, variation: int, options: str) -> Opening:
        self._begin()
        return Opening(task=self._now.task, look=self._now.look, inventory=self._now.inventory)

    def step(self, action: str) -> Step:
        rng = self._rng
        known = action in self.valid_actions() or int(hashlib.sha256(action.encode()).hexdigest(), 16) % 5 < 2
        observation = UNKNOWN
        if known:
            self._moves += 1
            if not action.startswith(("look", "use", "wait")) and rng.random() < 0.35:
                self._now = rng.choice(self._states)
            if rng.random() < 0.05:
                self._score = min(99, self._score + rng.randint(1, 20))
            if action.startswith("focus on") and rng.random() < 0.03:
                self._score = -100
            observation = rng.choice([f"You {action}.", self._now.observation, f"You move to the {rng.choice(ROOMS)}."])
            if action.startswith("use thermometer"):
                observation = f"the thermometer measures a temperature of {rng.randint(-20, 120)} degrees celsius"
        now = self._now
        return Step(observation, now.look, now.inventory, self._score, self._moves, False, known, rng.random() < 0.05)

    def valid_actions(self) -> list[str]:
        here, held = things_listed(self._now.look), things_listed(self._now.inventory)
        valid = ["look around", "wait", "wait1", "inventory", *(f"teleport to {room}" for room in ROOMS)]
        for thing in [*here[:8], *held[:4]]:
            valid += [f"{verb} {thing}" for verb in ("focus on", "pick up", "put down", "look at", "open", "read")]
            valid += [f"move {thing} to {place}" for place in (*here[-3:], "red box", "stove", "inventory")]
            valid.append(f"use thermometer on {thing}")
        return list(dict.fromkeys(valid))

    def gold_path(self, task_id: str, variation: int, options: str) -> list[str]:
        self._begin()
        return [action for action in self.valid_actions() if self._rng.random() < 0.15][:12]

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class WanderingModels:
    """Implements `Controller`, `Executor` and `Planner`, and records what each was asked."""

    seed: int
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"models {self.seed}")
        self._trained = trained()

    async def ask(self, messages: Sequence[Message]) -> Answer:
        self.asked.append(f"planner {digest(str(messages))}")
        plan = self._rng.sample(self._trained, 8)
        text = "\n".join(f"{number}. {subgoal}" for number, subgoal in enumerate(plan, start=1))
        return Answer(text=text, prompt_tokens=400, completion_tokens=60)

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        self.asked.append(f"controller {n} {model} {digest(state.model_dump_json())}")
        texts = [self._subgoal(state) for _ in range(n)]
        unparsed = self._rng.random() < 0.06
        alternatives = tuple(
            SubgoalAlternative(
                subgoal="" if unparsed else text,
                parsed=not unparsed,
                raw=text if unparsed else None,
                logprob=logprob,
                mean_logprob=logprob,
            )
            for text, logprob in zip(texts, self._logprobs(n), strict=True)
        )
        return subgoal_answer(*alternatives, model=model)

    async def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
    ) -> ActionResponse:
        offered = digest(str(list(valid_actions))) if valid_actions is not None else "any"
        self.asked.append(f"executor {n} {model} {offered} {digest(state.model_dump_json())}")
        if valid_actions is not None:
            actions: list[str | None] = [self._rng.choice(list(valid_actions))]
        else:
            actions = [self._action(state) for _ in range(n)]
        unparsed = valid_actions is None and self._rng.random() < 0.06
        alternatives = tuple(
            ActionAlternative(
                action=None if unparsed else action,
                ended_subgoal=unparsed or action is None,
                parsed=not unparsed,
                raw=(action or "?!") if unparsed else None,
                logprob=logprob,
                mean_logprob=logprob / 4,
            )
            for action, logprob in zip(actions, self._logprobs(len(actions)), strict=True)
        )
        return action_answer(*alternatives, model=model)

    def _logprobs(self, n: int) -> list[float]:
        return sorted((-self._rng.expovariate(1.0) for _ in range(n)), reverse=True)

    def _subgoal(self, state: AgentState) -> str:
        rng = self._rng
        here, held = things_listed(state.look), things_listed(state.inventory)
        thing, other, carried = rng.choice(here), rng.choice(here), rng.choice(held)
        earlier = [*state.completed_subgoals[-4:], state.current_subgoal or "look_around()"]
        match rng.randrange(12):
            case 0 | 1:
                return rng.choice(self._trained)
            case 2 | 3:
                return rng.choice(earlier)
            case 4:
                return rng.choice([f"pick_up({thing})", f"pick_up({carried})"])
            case 5:
                return f"focus_on({rng.choice([thing, carried])})"
            case 6:
                return f"move({thing}, {rng.choice([other, 'red box', 'green box'])})"
            case 7:
                room = re.search(r"called the ([a-z ]+)\.", state.look)
                return f"navigate_to({rng.choice([*ROOMS, room[1] if room else 'kitchen'])})"
            case 8:
                return rng.choice([f"wait1({rng.randint(1, 5)})", f"monitor_temperature(solid {thing}, melt)"])
            case 9:
                return "complete_task()"
            case 10:
                return rng.choice(MALFORMED)
            case _:
                return rng.choice([f"measure_temperature({thing})", f"heat({thing}, stove)", f"open({thing})"])

    def _action(self, state: AgentState) -> str | None:
        rng = self._rng
        here = things_listed(state.look)
        name, _, rest = (state.current_subgoal or "look_around()").removesuffix(")").partition("(")
        words = rest.split(", ")
        match rng.randrange(10):
            case 0 | 1 | 2:
                return None
            case 3 | 4:
                verb = {"focus_on": "focus on", "pick_up": "pick up", "navigate_to": "teleport to"}.get(name, name)
                return f"{verb} {' to '.join(words)}"
            case 5:
                return f"{name.replace('_', ' ')} {words[0][:-1]}"
            case 6:
                done = [turn.action for turn in state.turns if turn.action]
                return rng.choice([*done[-3:], "look around"])
            case 7:
                verb = rng.choice(["pick up", "focus on", "use thermometer on", "move", "open"])
                return f"{verb} {rng.choice(here)}" + (
                    f" to {rng.choice([*here, 'red box'])}" if verb == "move" else ""
                )
            case 8:
                return rng.choice(["eat moon", "wait", "wait1", "pick up pictonk", "move apple to red box"])
            case _:
                return f"{rng.choice(['pick up', 'look at', 'move'])} {rng.choice(here)[:-1]}"


def digest(text: str) -> str:
    """A short hash."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
