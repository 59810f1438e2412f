"""Wait until controller and executor are ready: `await_models.py`, which the service `evaluate` runs first.

The env-runner starts without them, because they may be elsewhere or in another profile. Names a service that is not
ready once, and where its reason stands. Exit codes: 0 both are ready, 3 one is not, and the time is over.
"""

from __future__ import annotations

import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import Final

_VARIABLES: Final = {"controller": "WAYMARK_CONTROLLER_URL", "executor": "WAYMARK_EXECUTOR_URL"}
_SECONDS: Final = 60.0
_VLLM_SECONDS: Final = 900.0
"""vLLM takes minutes to start."""
_ANSWER_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 1.0
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def problem_of(url: str) -> str | None:
    """Why a service cannot be asked yet; None if it can. What answers otherwise than we do counts as ready."""
    try:
        _open(f"{url.rstrip('/')}/health/ready", timeout=_ANSWER_SECONDS).close()
    except urllib.error.HTTPError as answer:
        return f"it answers {answer.code}" if answer.code >= 500 else None
    except urllib.error.URLError as error:
        return str(getattr(error.reason, "strerror", None) or error.reason)
    except OSError as error:
        return error.strerror or str(error)
    except (ValueError, HTTPException) as error:  # no address, or no HTTP
        return str(error) or type(error).__name__
    return None


def _where_to_look(name: str, url: str) -> str:
    host = url.partition("://")[2].partition(":")[0]
    if host in (name, f"{name}-gpu"):
        return f"Its log says why: docker compose logs {host}"
    return f"Start it, or correct {_VARIABLES[name]}."


def await_ready(services: dict[str, str], seconds: float, say: Callable[[str], object]) -> bool:
    """Whether all services, name to address, became ready in time. Names each that is late."""
    until = time.monotonic() + seconds
    late = dict(services)
    named: set[str] = set()
    while late:
        problems = {name: problem_of(url) for name, url in late.items()}
        late = {name: url for name, url in late.items() if problems[name] is not None}
        for name in late.keys() - named:
            named.add(name)
            say(f"The {name} at {late[name]} is not ready ({problems[name]}). {_where_to_look(name, late[name])}\n")
        if late and time.monotonic() > until:
            return False
        if late:
            time.sleep(_PAUSE_SECONDS)
    return True


def main() -> None:
    """Wait, and end."""
    services = {name: os.environ[variable] for name, variable in _VARIABLES.items()}
    seconds = _VLLM_SECONDS if os.environ.get("WAYMARK_ENGINE") == "vllm" else _SECONDS
    if not await_ready(services, seconds, sys.stderr.write):
        sys.stderr.write(f"Nothing can be played: after {seconds:.0f} s they are still not ready.\n")
        sys.exit(3)


if __name__ == "__main__":
    main()
