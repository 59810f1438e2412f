"""Where simulators keep their cache: in the user's folder, elsewhere or nowhere, as the environment says."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.env_runner.settings import Settings
from waymark.serving.settings import read


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"XDG_CACHE_HOME": "", "HOME": "/home/somebody"}, Path("/home/somebody/.cache/waymark")),
        ({"XDG_CACHE_HOME": "/caches"}, Path("/caches/waymark")),
        ({"WAYMARK_SIMULATOR_CACHE": "/elsewhere"}, Path("/elsewhere")),
        ({"WAYMARK_SIMULATOR_CACHE": ""}, None),
    ],
)
def test_simulators_keep_their_cache_where_the_environment_says(
    environment: dict[str, str], folder: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert read(Settings).simulator_cache == folder


@pytest.mark.parametrize("name", ["API_KEYS_FILE", "REDIS_PASSWORD_FILE", "SIMULATOR_CACHE"])
def test_an_empty_path_is_no_path(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"WAYMARK_{name}", "")
    assert getattr(read(Settings), name.lower()) is None
