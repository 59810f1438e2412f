"""Episodes of the shipped checkpoints in the real simulator are decided today as they were when they were recorded."""

from __future__ import annotations

from typing import Any

import pytest

from tests.recorded_play import figures, recorded, replay

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("episode", recorded(), ids=lambda episode: f"{episode['task']}/{episode['variation']}")
async def test_recorded_episodes_are_decided_as_before(episode: dict[str, Any]) -> None:
    result, player = await replay(episode)
    assert result.error is None
    assert figures(result) == episode["figures"]
    assert player.is_at_its_end
