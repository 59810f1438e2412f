"""A real simulator played through the real loop; only the models are scripted."""

from collections.abc import Sequence

import pytest

from tests import samples
from tests.answers import action_answer
from waymark.agent.episode_loop import run_episode
from waymark.contracts import ActionAlternative, ActionResponse, AgentConfig, AgentState
from waymark.worlds.scienceworld.environment import ScienceWorldSlot


class Oracle:
    """Follows a path, however the state looks; of valid actions it prefers the right one."""

    def __init__(self, path: Sequence[str], *, misspelt: int) -> None:
        self._path = path
        self._misspelt = misspelt

    async def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
    ) -> ActionResponse:
        """The path's next action, one of them misspelt unless valid actions are given."""
        at = state.step - 1
        right = self._path[at]
        assert valid_actions is None or right in valid_actions
        answer = f"{right} please" if at == self._misspelt and valid_actions is None else right
        alternative = ActionAlternative(action=answer, ended_subgoal=False, logprob=0, mean_logprob=0)
        return action_answer(alternative, model=model)


@pytest.mark.anyio
async def test_an_oracle_path_with_a_misspelt_action_solves_its_task(slot: ScienceWorldSlot) -> None:
    path = slot.gold_path("4-2", 0, "easy")
    misspelt = next(index for index, action in enumerate(path) if action.startswith(("pick up ", "move ")))
    spec = samples.spec(AgentConfig(subgoals="none"), moves=100, turns=200)
    result = await run_episode(spec, slot, None, Oracle(path, misspelt=misspelt))
    assert result.error is None
    assert (result.stopped, result.score, result.success) == ("completed", 100, True)
    assert [turn.action for turn in result.trajectory] == path[: result.turns]
    repaired = [turn for turn in result.trajectory if turn.repaired]
    assert [turn.turn for turn in repaired] == [misspelt + 1]
    assert repaired[0].proposed != repaired[0].action
    free = sum(action == "look around" for action in path[: result.turns])
    assert result.moves == result.turns - free
