"""A running episode: its ports, its state and its record. A policy decides what to do next.

`waymark.agent.episode_loop` opens it and stops it; `waymark.agent.policies` plays its turns.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence

from anyio import to_thread

from waymark.agent import replay
from waymark.agent.model_ports import Controller, Executor, RequestLimits
from waymark.agent.recorded_alternatives import Alternatives
from waymark.agent.rules import rules_of
from waymark.agent.state import StateFold
from waymark.agent.subgoal_sources import oracle
from waymark.agent.subgoal_sources.llm_plan import Planner, ask_plan
from waymark.agent.world_port import AgentWorld
from waymark.contracts import (
    ActionResponse,
    AgentState,
    EpisodeError,
    EpisodeResult,
    EpisodeSpec,
    Opening,
    RuleUse,
    Stopped,
    SubgoalResponse,
    TurnRecord,
    Usage,
)
from waymark.errors import InvalidInput
from waymark.worlds.base import SOLVED, Environment, Step


class Play:
    """One episode under way.

    Raises InvalidInput if a port that the agent needs is missing, or if it names an unknown rule.
    """

    def __init__(
        self,
        spec: EpisodeSpec,
        environment: Environment,
        controller: Controller | None,
        executor: Executor,
        planner: Planner | None,
        request_limits: RequestLimits,
        world: AgentWorld,
    ) -> None:
        self.spec = spec
        self.agent = spec.agent
        self.request_limits = request_limits
        self.world = world
        self.rules = rules_of(spec.agent, self.world)
        self.fold: StateFold
        self.turns: list[TurnRecord] = []
        self.completed = False
        """The environment says that the episode is over."""
        self.plan: list[str] = []
        """What is known before the episode: sub-goals of the oracle or of a large model, or the oracle's actions."""
        self._environment = environment
        self._controller = controller
        self._executor = executor
        self._planner = planner
        self._check_ports()
        self._opening: Opening | None = None
        self.model_calls = 0
        """Of controller, executor and planner together."""
        self._unparsed = 0
        self._prompt_tokens = self._completion_tokens = 0
        self._considered = Alternatives()
        self._began = self._turn_began = time.monotonic()

    def _check_ports(self) -> None:
        ports = {"controller": self._controller, "semi_random": self._controller, "llm_plan": self._planner}
        if ports.get(self.agent.subgoals, self) is None:
            raise InvalidInput(
                f"This agent takes its sub-goals from {self.agent.subgoals!r}, but no service names them.",
                remedy="Give a controller or a planner, or choose `none` for the flat agent.",
                field="agent.subgoals",
            )

    @property
    def state(self) -> AgentState:
        """The state as it is now, with all turns."""
        return self.fold.state

    @property
    def wants_subgoal(self) -> bool:
        """Whether the source of sub-goals is asked in this turn."""
        return self.agent.controller_calls == "every_step" or self.state.subgoal_step is None

    async def open(self) -> None:
        """Load the task, and compute the sub-goals that are known before the episode."""
        episode = (self.spec.task, self.spec.variation, self.spec.options)
        if self.agent.policy == "oracle_actions":
            path = await to_thread.run_sync(self._environment.gold_path, *episode)
            self.plan = self.world.replayable_path(path)
        elif self.agent.subgoals == "oracle":
            self.plan = await to_thread.run_sync(oracle.subgoals, self._environment, *episode, self.world)
        self._opening = await to_thread.run_sync(self._environment.reset, *episode)
        self.fold = StateFold.start(self._opening.task, self._opening.look, self._opening.inventory, self.world)
        if self.agent.subgoals == "llm_plan":
            assert self._planner is not None
            self.plan = await ask_plan(self._planner, self.state, self._count, self.world)

    def rng(self) -> random.Random:
        """A random number generator that depends only on the episode's seed, task, variation and repeat."""
        again = f" {self.spec.repeat}" if self.spec.repeat else ""
        return random.Random(f"{self.spec.seed} {self.spec.task} {self.spec.variation}{again}")

    def begin_turn(self) -> None:
        """Start a turn and its clock."""
        self._turn_began = time.monotonic()
        self._considered = Alternatives()
        replay.begin_turn(self.fold, self.rules)

    # --- the ports ---------------------------------------------------------------------------------------

    async def ask_controller(self, now: AgentState, /, *, n: int) -> SubgoalResponse:
        """The `n` best sub-goals, at least as many as the agent has beams. Raises ServiceError."""
        assert self._controller is not None
        answer = await self._controller.subgoal(self._visible(now), n=self._width(n), model=self.agent.controller_model)
        self._count_answer(answer)
        self._considered.add_subgoals(answer)
        return answer

    async def ask_executor(self, *, n: int, valid_actions: Sequence[str] | None = None) -> ActionResponse:
        """The `n` best actions, at least as many as the agent has beams; with `valid_actions`, the best of those.

        Raises ServiceError.
        """
        answer = await self._executor.action(
            self._visible(self.state),
            n=self._width(n) if valid_actions is None else min(n, self.request_limits.alternatives),
            model=self.agent.executor_model,
            valid_actions=valid_actions,
        )
        self._count_answer(answer)
        if valid_actions is None:
            self._considered.add_actions(answer)
        return answer

    async def step(self, action: str) -> Step:
        """Perform an action in the environment. Call `acted` to record it. Raises EnvironmentFault."""
        return await to_thread.run_sync(self._environment.step, action)

    async def valid_actions(self) -> list[str]:
        """Every action that the environment would accept now. Raises EnvironmentFault."""
        return await to_thread.run_sync(self._environment.valid_actions)

    def _width(self, n: int) -> int:
        return min(max(n, self.agent.beams), self.request_limits.alternatives)

    def _visible(self, now: AgentState) -> AgentState:
        return StateFold(now, self.world).visible(self.request_limits.history_turns)

    def _count_answer(self, answer: SubgoalResponse | ActionResponse) -> None:
        self._count(answer.usage)
        self._unparsed += not answer.parsed

    def _count(self, usage: Usage) -> None:
        self.model_calls += 1
        self._prompt_tokens += usage.prompt_tokens
        self._completion_tokens += usage.completion_tokens

    # --- the record --------------------------------------------------------------------------------------

    def ended(self, logprob: float | None, *, controller_called: bool, unparsed: str | None = None) -> TurnRecord:
        """Record an ended sub-goal, or text that is not an action (`unparsed`). The environment was not called."""
        return self._record(
            TurnRecord(
                turn=len(self.turns) + 1,
                subgoal=self.state.current_subgoal,
                controller_called=controller_called,
                action=None,
                proposed=unparsed,
                logprob=logprob,
                known=unparsed is None,
                look=self.state.look,
                inventory=self.state.inventory,
                score=self.state.score,
                moves=self.turns[-1].moves if self.turns else 0,
                seconds=time.monotonic() - self._turn_began,
            )
        )

    def acted(
        self,
        step: Step,
        action: str,
        *,
        subgoal: str | None,
        controller_called: bool,
        proposed: str | None = None,
        logprob: float | None = None,
        repaired: bool = False,
    ) -> TurnRecord:
        """Update the state with an executed action and record the turn."""
        self.completed = step.completed or step.score >= SOLVED
        return self._record(
            TurnRecord(
                turn=len(self.turns) + 1,
                subgoal=subgoal,
                controller_called=controller_called,
                action=action,
                proposed=proposed,
                logprob=logprob,
                repaired=repaired,
                known=step.known,
                ambiguous=step.ambiguous,
                observation=step.observation,
                look=step.look,
                inventory=step.inventory,
                score=step.score,
                reward=step.score - self.state.score,
                moves=step.moves,
                seconds=time.monotonic() - self._turn_began,
            )
        )

    def _record(self, turn: TurnRecord) -> TurnRecord:
        turn = self._considered.note(turn)
        turn = turn.model_copy(update={"rules": self.rules.take_acted()})
        replay.end_turn(self.fold, turn)
        self.turns.append(turn)
        return turn

    def _rule_uses(self) -> tuple[RuleUse, ...]:
        counts = Counter(name for turn in self.turns for name in turn.rules)
        return tuple(RuleUse(rule=name, turns=count) for name, count in counts.most_common())

    def result(self, stopped: Stopped, error: EpisodeError | None = None) -> EpisodeResult:
        """The result of the episode so far."""
        turns = self.turns
        return EpisodeResult.of(
            self.spec,
            stopped,
            raw_score=turns[-1].score if turns else 0,
            error=error,
            last_nonnegative_score=next((turn.score for turn in reversed(turns) if turn.score >= 0), 0),
            moves=turns[-1].moves if turns else 0,
            actions=sum(turn.action is not None for turn in turns),
            turns=len(turns),
            model_calls=self.model_calls,
            tokens=self._prompt_tokens + self._completion_tokens,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            repaired=sum(turn.repaired for turn in turns),
            unparsed=self._unparsed,
            rules=self._rule_uses(),
            seconds=time.monotonic() - self._began,
            opening=self._opening,
            trajectory=tuple(turns),
        )
