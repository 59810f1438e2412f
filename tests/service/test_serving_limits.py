"""Keys and limits: who may ask a service, and how much at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from services.env_runner.settings import Settings as RunnerSettings
from tests.serving import STATE, asking, problem, says
from waymark.contracts import ServiceInfo
from waymark.errors import InvalidInput
from waymark.serving.middleware.api_keys import Keys, open_keys
from waymark.serving.settings import ServiceSettings, read

TURN = {"action": "look around", "observation": "You see nothing."}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.anyio
async def test_only_the_configured_keys_open_the_routes(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# the team\n  # until May\nthird-key\n\n")
    settings = ServiceSettings(api_keys=SecretStr("first-key, second-key"), api_keys_file=file)
    async with asking("executor", settings, default=says("look around")) as client:
        for path in ("/info", "/metrics", "/docs/nope", "/nope"):
            for headers in (
                {},
                bearer("first-ke"),
                bearer(""),
                bearer("first-key, second-key"),
                {"authorization": "x"},
            ):
                refused = await client.get(path, headers=headers)
                problem(refused, 401, "unauthorized")
                assert refused.headers["www-authenticate"] == "Bearer"
        assert [(await client.get(path)).status_code for path in ("/v1/models", "/mcp")] == [401, 401]
        for key in ("first-key", "second-key", "third-key"):
            answer = await client.post("/v1/action", json={"state": STATE}, headers=bearer(key))
            assert answer.status_code == 200
        assert [(await client.get(f"/health/{probe}")).status_code for probe in ("live", "ready")] == [200, 200]


@pytest.mark.anyio
async def test_a_body_without_a_key_is_not_read() -> None:
    async with asking("executor", ServiceSettings(api_keys=SecretStr("key")), default=says("look around")) as client:
        problem(await client.post("/v1/action", content=b"x" * 5_000_000), 401, "unauthorized")


def test_a_changed_keys_file_is_reread_unless_missing(tmp_path: Path) -> None:
    now = 0.0
    file = tmp_path / "keys"
    file.write_text("old")
    keys = Keys(file=file, clock=lambda: now)
    file.write_text("newer")
    now += 10
    assert [keys.accept(key) for key in ("old", "newer")] == [False, True]
    file.unlink()
    now += 10
    assert keys.accept("newer")


@pytest.mark.parametrize("content", [None, "", "# nothing\n\n"])
def test_a_file_without_keys_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidInput, match=str(file)):
        open_keys(ServiceSettings(api_keys_file=file))


@pytest.mark.parametrize("kind", [ServiceSettings, RunnerSettings])
def test_remote_callers_need_a_key_unless_allowed_explicitly(
    monkeypatch: pytest.MonkeyPatch, kind: type[ServiceSettings] | type[RunnerSettings]
) -> None:
    monkeypatch.setenv("WAYMARK_HOST", "0.0.0.0")
    for empty in ("", " , "):
        monkeypatch.setenv("WAYMARK_API_KEYS", empty)
        with pytest.raises(InvalidInput, match="WAYMARK_API_KEYS"):
            read(kind)
    monkeypatch.setenv("WAYMARK_API_KEYS", "a-key")
    assert open_keys(read(kind)) is not None
    monkeypatch.delenv("WAYMARK_API_KEYS")
    monkeypatch.setenv("WAYMARK_ALLOW_REMOTE", "1")
    assert open_keys(read(kind)) is None


def test_settings_never_show_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYMARK_API_KEYS", "do-not-show")
    assert "do-not-show" not in repr(read(ServiceSettings))
    monkeypatch.setenv("WAYMARK_PORT", "99999")
    with pytest.raises(InvalidInput) as error:
        read(ServiceSettings)
    assert "do-not-show" not in str(error.value)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("limit", "body", "status", "kind", "field"),
    [
        ({"max_turns": 1}, {"state": {**STATE, "turns": [TURN, TURN]}}, 422, "invalid-input", "state.turns"),
        ({"max_alternatives": 2}, {"state": STATE, "n": 3}, 422, "invalid-input", "n"),
        (
            {"max_candidates": 1},
            {"state": STATE, "valid_actions": ["look around", "inventory"]},
            422,
            "invalid-input",
            "valid_actions",
        ),
        ({"max_input_tokens": 3}, {"state": STATE}, 413, "input-too-large", "state"),
    ],
)
async def test_exceeded_limits_are_named(
    limit: dict[str, int], body: dict[str, Any], status: int, kind: str, field: str
) -> None:
    async with asking("executor", ServiceSettings(**limit), default=says("look around")) as client:  # type: ignore[arg-type]
        refusal = problem(await client.post("/v1/action", json=body), status, kind)
        listed = problem(await client.post("/v1/actions", json=[body]), status, kind)
    assert [error.field for error in refusal.errors] == [field]
    assert [error.field for error in listed.errors] == [f"0.{field}"]


@pytest.mark.anyio
async def test_a_list_is_limited_to_the_queue() -> None:
    settings = ServiceSettings(max_items=4, max_queue=2)
    async with asking("executor", settings, default=says("look around")) as client:
        assert (await client.post("/v1/actions", json=[{"state": STATE}] * 2)).status_code == 200
        problem(await client.post("/v1/actions", json=[{"state": STATE}] * 3), 413, "input-too-large")
        problem(await client.post("/v1/actions", json=[]), 422, "invalid-input")


@pytest.mark.anyio
async def test_info_shows_every_limit() -> None:
    settings = ServiceSettings(
        max_items=1,
        max_turns=2,
        max_alternatives=3,
        max_candidates=4,
        max_input_tokens=5,
        max_body_bytes=6_000,
        max_queue=7,
        max_queue_tokens=8,
        max_queue_seconds=9.5,
        max_request_tokens=10,
    )
    async with asking("executor", settings, default=says("look around")) as client:
        info = ServiceInfo.model_validate_json((await client.get("/info")).content)
    assert info.limits.model_dump() == {
        "items": 1,
        "turns": 2,
        "alternatives": 3,
        "candidates": 4,
        "input_tokens": 5,
        "body_bytes": 6_000,
        "queue": 7,
        "queue_tokens": 8,
        "queue_seconds": 9.5,
        "request_tokens": 10,
    }


@pytest.mark.anyio
@pytest.mark.parametrize("value", ["0", "-5", "soon", "600001"])
async def test_a_deadline_that_is_none_is_named(value: str) -> None:
    async with asking("executor", default=says("look around")) as client:
        headers = {"X-Waymark-Deadline-Ms": value}
        response: httpx.Response = await client.post("/v1/action", json={"state": STATE}, headers=headers)
    assert [error.field for error in problem(response, 422, "invalid-input").errors] == ["X-Waymark-Deadline-Ms"]
