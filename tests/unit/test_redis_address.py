"""Addresses of Redis: passwords of any characters are read, and are never shown."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.env_runner.queue import JobStore
from services.env_runner.settings import Settings
from waymark.errors import InvalidInput
from waymark.redis_address import parse
from waymark.serving.settings import read

PASSWORDS = (
    "sec/ret",
    "a#b",
    "a@b@c",
    "a:b",
    "100%",
    "what?x=1",
    "pässwörd ✓",
    "a b",
    "[x]",
    "/",
    "@",
    "a/b@c/d",
    "%zz",
)


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("user", ["", "waymark"])
def test_a_password_of_any_characters_is_read(password: str, user: str) -> None:
    for written in (password, quote(password, safe="")):
        address = parse(f"redis://{user}:{written}@db.example:6380/2?health_check_interval=5")
        assert (address.username or "", address.password) == (user, password)
        assert address.url == "redis://db.example:6380/2?health_check_interval=5"
        assert address.shown == "redis://db.example:6380/2"


@given(st.text(min_size=1).filter(lambda text: text.strip() == text))
def test_any_encoded_password_is_read_and_never_shown(password: str) -> None:
    address = parse(f"rediss://:{quote(password, safe='', errors='surrogatepass')}@[::1]:6379/0")
    assert address.password is not None
    assert address.shown == "rediss://[::1]:6379/0"
    assert "password" not in repr(address)


@pytest.mark.parametrize(
    ("url", "user", "password", "shown"),
    [
        ("unix:///tmp/a@b/redis.sock?db=1", None, None, "unix:///tmp/a@b/redis.sock"),
        ("unix://u:p/w?x@/run/redis.sock?db=1", "u", "p/w?x", "unix:///run/redis.sock"),
        ("unix://:a@b@/run/a@/redis.sock", None, "a@b@/run/a", "unix:///redis.sock"),
        ("redis://host/0?password=p@ss", None, None, "redis://host/0"),
        ("redis://only-user@host", "only-user", None, "redis://host"),
        ("redis://", None, None, "redis://"),
        ("REDIS://host", None, None, "redis://host"),
    ],
)
def test_sockets_users_and_queries_are_parsed(url: str, user: str, password: str, shown: str) -> None:
    address = parse(url)
    assert (address.username, address.password, address.shown) == (user, password, shown)


def test_a_password_in_its_own_setting_is_used_verbatim(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WAYMARK_REDIS_URL", "redis://:other@host/0")
    monkeypatch.setenv("WAYMARK_REDIS_PASSWORD", "a%41/@#")
    assert read(Settings).redis.password == "a%41/@#"
    monkeypatch.delenv("WAYMARK_REDIS_PASSWORD")
    (tmp_path / "password").write_bytes(b"\xef\xbb\xbf with blanks \r\n")
    monkeypatch.setenv("WAYMARK_REDIS_PASSWORD_FILE", str(tmp_path / "password"))
    assert read(Settings).redis.password == " with blanks "


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", None])
def test_a_password_file_without_password_is_refused(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidInput, match=str(file)):
        _ = Settings(redis_password_file=file).redis


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hun/ter2",
        "redis://:hunter2@host:99999",
        "redis://:hunter2@host:port",
        "redis://:hunter2@a b",
        "http://:hunter2@host",
        "hunter2",
        "unix://:hunter2@nowhere",
        "redis://:hunter2@host/zero",
        "redis://:hunter2@host/0/more",
        "redis://:x@host?socket_timeout=hunter2",
        "redis://:x@host?hunter2=1",
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        JobStore(url)
    assert "hunter2" not in str(caught.value)
    assert "ter2" not in str(caught.value)
    assert caught.value.field == "WAYMARK_REDIS_URL"


def test_settings_never_print_the_password() -> None:
    settings = Settings(redis_url="redis://:hunter2@host", redis_password="hunter2")
    for printed in (repr(settings), str(settings), settings.model_dump_json(), repr(settings.redis)):
        assert "hunter2" not in printed
