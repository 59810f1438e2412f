"""A run whose saved state is damaged says so in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from training.run_state import load_state, save_state
from waymark.errors import CheckpointError


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_a_truncated_state_is_refused_in_one_line(tmp_path: Path, kept: float) -> None:
    accelerator, model = Accelerator(), torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    save_state(tmp_path, accelerator, model, optimizer, {"step": 3})
    assert load_state(tmp_path, accelerator, model, optimizer, adapters=False) == {"step": 3}
    whole = (tmp_path / "state.pt").read_bytes()
    (tmp_path / "state.pt").write_bytes(whole[: int(kept * len(whole)) if kept <= 1 else int(kept)])
    with pytest.raises(CheckpointError, match="Cannot resume from") as refused:
        load_state(tmp_path, accelerator, model, optimizer, adapters=False)
    assert "\n" not in str(refused.value)


def test_a_state_of_another_model_is_refused_in_one_line(tmp_path: Path) -> None:
    accelerator, model = Accelerator(), torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    save_state(tmp_path, accelerator, model, optimizer, {"step": 3})
    with pytest.raises(CheckpointError, match="Cannot resume from"):
        load_state(tmp_path, accelerator, torch.nn.Linear(3, 2), optimizer, adapters=False)
