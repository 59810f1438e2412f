"""Ways to choose among the models' answers: which sub-goal comes first, and the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from rich.console import Console

from benchmarks.choices import RerankedController, _Kept, chosen_ports, report
from tests.samples import result
from waymark.agent.model_ports import Executor
from waymark.contracts import (
    ActionAlternative,
    ActionResponse,
    AgentState,
    SubgoalAlternative,
    SubgoalResponse,
    Timing,
    Usage,
)
from waymark.errors import InvalidInput

STATE = AgentState(task="Find a plant.", look="This room is called the kitchen.", inventory="nothing")
FIELDS = {"model": "m", "checkpoint_sha256": "0" * 64, "usage": Usage(prompt_tokens=1, completion_tokens=1)}
TIMING = Timing(queue=0, model=0, total=0)


class Controller:
    """Prefers the sub-goal `first` a little."""

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        scores = {"first()": -0.5, "second()": -0.9}
        alternatives = tuple(
            SubgoalAlternative(subgoal=name, logprob=score, mean_logprob=score) for name, score in scores.items()
        )
        return SubgoalResponse(subgoal="first()", alternatives=alternatives, timing_ms=TIMING, **FIELDS)


class Acts:
    """Likes the action of one sub-goal."""

    def __init__(self, liked: str) -> None:
        self._liked = liked

    async def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
    ) -> ActionResponse:
        names = valid_actions or [f"do {state.current_subgoal}"]
        alternatives = tuple(
            ActionAlternative(action=name, ended_subgoal=False, logprob=score, mean_logprob=score)
            for name in names
            for score in [-0.1 if self._liked in name else -2.0]
        )
        return ActionResponse(
            action=names[0], ended_subgoal=False, alternatives=alternatives, timing_ms=TIMING, **FIELDS
        )


@pytest.mark.parametrize(
    ("executor", "flat", "best"),
    [
        (Acts("first"), None, "first()"),
        (Acts("second"), None, "second()"),
        (Acts("first"), Acts("second"), "second()"),
    ],
)
def test_the_subgoal_whose_action_is_likely_comes_first(executor: Executor, flat: Executor | None, best: str) -> None:
    answer = anyio.run(RerankedController(Controller(), executor, flat).subgoal, STATE)
    assert answer.subgoal == best == answer.alternatives[0].subgoal
    assert len(answer.alternatives) == 2


def test_an_unknown_way_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.choices.open_agent", lambda *_: (Controller(), Acts("first")))
    with pytest.raises(InvalidInput, match="no way"):
        chosen_ports("by heart", Path(), None)  # type: ignore[arg-type]


def test_the_report_pairs_each_way_with_the_first(tmp_path: Path) -> None:
    chosen = {"1-1": {"water": [0], "ice": [1]}}
    kept = _Kept(tmp_path / "kept.jsonl")
    for way, scores in (("greedy", (40, 60)), ("drawn-1", (50, 90))):
        for variation, score in enumerate(scores):
            kept.add(way, result("1-1", variation=variation, score=score).model_copy(update={"task": "1-1"}), 1.0)
    with (tmp_path / "kept.jsonl").open("a") as file:
        file.write('{"way": "gre')  # what a kill leaves
    again = _Kept(tmp_path / "kept.jsonl")
    assert again.has("drawn-1", "1-1", 1)
    assert not again.has("drawn-1", "1-1", 2)
    console = Console(record=True, width=200)
    report(again, ["greedy", "drawn-1"], chosen, console)
    text = console.export_text()
    assert "50.0" in text
    assert "+20.0" in text
