"""Look for mistakes before the stack starts: the service `check` of docker-compose.yml.

Reads the settings as the services read them, the keys, and the checkpoints. Prints one line for each mistake. Exit
codes: 0 there is none, 2 there are some.

Services look at all of this again. They run in the background, though, where nobody sees what they say.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

from services.env_runner.settings import Settings
from waymark.contracts import EvaluationRequest
from waymark.errors import InvalidInput, WaymarkError
from waymark.evaluation.requested_episodes import protocol_of
from waymark.inference.checkpoint import CARD
from waymark.serving.loaded_models import verify_checkpoints
from waymark.serving.middleware.api_keys import open_keys
from waymark.serving.settings import Service, ServiceSettings, read
from waymark.worlds.registry import get_world, world_of_format

_CHECKPOINTS: Final = Path("checkpoints")
_KEYS: Final = "/run/secrets/api_keys"
_USUAL: Final = ("controller", "executor", "flat", "first")
_MOST_FILES: Final = 1_000
_SERVICES: Final[tuple[Service, ...]] = ("controller", "executor")
_NO_TORCH: Final = ("", "serve")
"""Values of WAYMARK_SERVE_TARGET whose image has no torch."""


def mistakes(environment: Mapping[str, str]) -> Iterator[str]:
    """One line for each mistake. `environment` is that of the process; paths in the lines are the host's."""
    folder = (environment.get("HOST_CHECKPOINTS") or "./checkpoints").rstrip("/")
    yield from (" ".join(line.split()) for line in dict.fromkeys(_mistakes(environment, folder)))


def _mistakes(environment: Mapping[str, str], folder: str) -> Iterator[str]:
    models = environment.get("WAYMARK_MODELS", "")
    if models not in ("", "gpu"):
        yield f"WAYMARK_MODELS={models}: there are no such services. Leave it out, or set it to gpu."
    try:
        settings = read(Settings)
        _ = settings.redis, settings.planner
    except WaymarkError as error:
        yield str(error)
        return
    yield from _keys(settings, environment)
    yield from _protocol(settings, environment)
    engine = environment.get("WAYMARK_ENGINE", "")
    if engine == "transformers" and not models and environment.get("WAYMARK_SERVE_TARGET", "") in _NO_TORCH:
        yield "WAYMARK_ENGINE=transformers: the image `serve` has no torch. Set WAYMARK_SERVE_TARGET=serve-torch."
    unreadable = _unreadable(environment)
    if unreadable is not None:
        yield (
            f"WAYMARK_CHECKPOINTS_FOLDER={folder}: user {os.getuid()} of the containers cannot read {unreadable}. "
            f"Let everybody read it: chmod -R a+rX {folder}"
        )
        return
    if (_CHECKPOINTS / CARD).exists():
        yield (
            f"WAYMARK_CHECKPOINTS_FOLDER={folder} is one checkpoint itself. "
            "Name the folder around it, which holds controller/ and executor/."
        )
        return
    for service in _SERVICES:
        yield from _checkpoints(service, settings, environment, folder)


def _keys(settings: Settings, environment: Mapping[str, str]) -> Iterator[str]:
    """What keeps env-runner, workers and `evaluate` from asking the services."""
    try:
        keys = open_keys(settings)
    except InvalidInput as error:
        file = environment.get("HOST_KEYS_FILE") or _KEYS
        yield f"WAYMARK_API_KEYS_FILE: {str(error).replace(_KEYS, file)}"
        return
    elsewhere = environment.get("HOST_SERVICES", "")
    if keys is None or elsewhere:
        return
    key = environment.get("WAYMARK_API_KEY", "")
    if not key:
        yield "WAYMARK_API_KEY is not set, and the services ask for a key. Set it to one of their keys."
    elif not keys.accept(key):
        yield "WAYMARK_API_KEY is none of the keys that the services accept. Set it to one of them."


def _protocol(settings: Settings, environment: Mapping[str, str]) -> Iterator[str]:
    """A protocol to play at the start that the world does not have."""
    protocol = environment.get("WAYMARK_EVALUATE") or "none"
    if protocol == "none":
        return
    try:
        protocol_of(EvaluationRequest(protocol=protocol), get_world(settings.environment))
    except (WaymarkError, ValueError) as error:
        reason = error if isinstance(error, WaymarkError) else "it is no name."
        yield f"WAYMARK_EVALUATE={protocol[:100]}: {reason} Or set it to none."


def _checkpoints(service: Service, runner: Settings, environment: Mapping[str, str], folder: str) -> Iterator[str]:
    """Settings of a model service that are wrong, and checkpoints that it would refuse."""
    if environment.get("WAYMARK_MODELS") == "gpu":
        os.environ.setdefault("WAYMARK_ENGINE", "transformers")  # as the profile does
    own = {f"WAYMARK_{name}": f"WAYMARK_{service.upper()}_{name}" for name in ("CHECKPOINTS", "VLLM_URL")}
    os.environ.update({name: environment.get(variable, "") for name, variable in own.items()})
    try:
        settings = read(ServiceSettings)
    except WaymarkError as error:
        line = str(error)
        for name, variable in own.items():
            line = line.replace(name, variable)
        yield line
        return
    finally:
        for name in own:
            del os.environ[name]
    if settings.engine == "scripted":
        return
    try:
        checkpoints = verify_checkpoints(service, settings, quick=True)
    except WaymarkError as error:
        yield f"{service}: {error}".replace(f"{_CHECKPOINTS}/", f"{folder}/").replace(*next(iter(own.items())))
        return
    world = get_world(runner.environment)
    for checkpoint in checkpoints.values():
        other = world_of_format(checkpoint.card.prompt_format)
        if not isinstance(world, type(other)):
            yield (
                f"{service}: {folder}/{checkpoint.folder.name} was trained for {other.title}, and "
                f"WAYMARK_ENVIRONMENT={world.name} plays {world.title}. Change one of them."
            )
            return


def _unreadable(environment: Mapping[str, str]) -> str | None:
    """A file or folder of the checkpoints that this process may not read, as the host names it."""
    if environment.get("WAYMARK_ENGINE") == "scripted":
        return None
    host = environment.get("HOST_CHECKPOINTS") or "./checkpoints"
    for path in _walk():
        if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            return str(Path(host, path.relative_to(_CHECKPOINTS)))
    return None


def _walk() -> Iterator[Path]:
    """The folder of checkpoints, and what lies in those of the usual names; it may hold very much more."""
    yield _CHECKPOINTS
    if os.access(_CHECKPOINTS, os.X_OK):
        for name in _USUAL:
            if (_CHECKPOINTS / name).exists():
                yield _CHECKPOINTS / name
                yield from islice((_CHECKPOINTS / name).glob("**/*"), _MOST_FILES)


def main() -> None:
    """Print what is wrong, and end."""
    lines = list(mistakes(dict(os.environ)))
    for line in lines:
        sys.stderr.write(f"{line}\n")
    sys.exit(2 if lines else 0)


if __name__ == "__main__":
    main()
