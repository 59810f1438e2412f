"""Checks before anything starts, so that a wrong command ends at once with one line."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import httpx

from waymark.cli.local_stack import CHECKPOINTS, StackOptions, check_options
from waymark.clients.addresses import shown
from waymark.clients.chat import Endpoint
from waymark.command_hints import install, missing_packages, reinstall
from waymark.contracts import CheckpointInfo, EvaluationRequest, Role
from waymark.errors import (
    CheckpointError,
    EndpointUnusable,
    InvalidInput,
    ServiceUnavailable,
    StackError,
)
from waymark.evaluation.checkpoint_identity import short_hash
from waymark.evaluation.run_folder import RunFolder
from waymark.inference import checkpoint
from waymark.inference.checkpoint import Checkpoint
from waymark.inference.installed_engines import check_engine
from waymark.worlds.registry import get_world

_ANSWER_SECONDS: Final = 5.0
_STACK_PACKAGES: Final = {"redis": "redis", "sse_starlette": "sse-starlette", "tenacity": "tenacity"}
_ROLES: Final[Mapping[str, Role]] = {
    "controller": "controller",
    "executor": "executor",
    "flat": "flat",
    "first": "first",
}


def check_alive(url: str, *, without: str = "start a stack here") -> None:
    """Raise ServiceUnavailable if nothing answers at the address of an env-runner.

    `without` says what the command does without an address.
    """
    try:
        httpx.get(f"{url}/health/live", timeout=_ANSWER_SECONDS, trust_env=False)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise ServiceUnavailable(
            f"No env-runner at {shown(url)}: {str(error) or 'it does not answer'}.",
            remedy=f"Start it, or leave --url (WAYMARK_URL) out to {without}.",
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL):
        return  # something is there; the client tells what is wrong with its answers


def check_stack(options: StackOptions, requests: Sequence[EvaluationRequest] = ()) -> None:
    """Raise the error that would prevent a stack with these options from playing these requests: packages, engine,
    checkpoints.

    Raises EngineUnavailable, CheckpointError, StackError, InvalidInput, EndpointUnusable.
    """
    check_packages(options.environment)
    check_engine(
        options.engine,
        vllm_urls=os.environ.get("WAYMARK_VLLM_URL", ""),
        vllm_python=os.environ.get("WAYMARK_VLLM_PYTHON", ""),
    )
    if options.engine == "scripted":
        _check_folder(options.checkpoints)
    else:
        needed = {"controller", "executor"}
        needed |= {"flat" for request in requests if request.agent.executor_model == "flat"}
        check_checkpoints(options.checkpoints, needed, options.engine)
    if any(request.agent.subgoals == "llm_plan" for request in requests):
        check_planner()
    check_options(options)


def check_own_packages() -> None:
    """Raise StackError if packages that every service needs are missing. The engine's are checked with the engine."""
    if missing := [name for name in missing_packages("") if name != "ctranslate2"]:
        raise StackError(
            f"Waymark needs packages that are not installed: {', '.join(missing)}.",
            remedy=f"Install them: {reinstall(missing)}",
        )


def check_packages(environment: str = "") -> None:
    """Raise StackError if packages of the env-runner, or of the world `environment` if one is given, are missing."""
    check_own_packages()
    extras = [("env", package) for package in _STACK_PACKAGES]
    if environment:
        world = get_world(environment)
        extras += [(world.extra, package) for package in world.packages]
    missing = [(brings, _STACK_PACKAGES.get(package, package)) for brings, package in extras if not find_spec(package)]
    if missing:
        names = ", ".join(package for _, package in missing)
        raise StackError(
            f"{'Evaluations on this machine need' if environment else 'This needs'} packages that are not installed: "
            f"{names}.",
            remedy="Install them: " + " && ".join(install(brings) for brings in dict.fromkeys(dict(missing))),
        )


def check_checkpoints(folder: Path, needed: Iterable[str], engine: str) -> dict[str, Checkpoint]:
    """The checkpoints in a folder, by name: those that are needed, and those that a stack loads if they exist.

    Raises CheckpointError.
    """
    _check_folder(folder)
    if not folder.is_dir():
        raise CheckpointError(
            "This installation brings no checkpoints.",
            remedy="Name a folder that holds some: --checkpoints FOLDER, for example checkpoints/ of a clone of "
            "the repository.",
        )
    wanted = [name for name in _ROLES if name in needed or (folder / name).exists()]
    wanted += [name for name in needed if name not in wanted]
    if "executor" in needed and not any((folder / name).exists() for name in _ROLES):
        remedy = "Name the folder that holds controller/ and executor/."
        if (folder / checkpoint.CARD).exists():
            remedy = f"It is one checkpoint itself: name the folder around it, which holds {', '.join(_ROLES)}."
        raise CheckpointError(f"--checkpoints {str(folder)!r} holds no checkpoints.", remedy=remedy)
    checkpoints: dict[str, Checkpoint] = {}
    for name in wanted:
        path = folder / name
        checkpoints[name] = checkpoint.load(path, _ROLES[name], hashes=checkpoint.is_quick_to_hash(path))
        if engine == "ctranslate2":
            checkpoints[name].check_converted()
    return checkpoints


def check_run(path: Path, checkpoints: Mapping[str, Checkpoint]) -> None:
    """Raise InvalidInput if a run began with other checkpoints than these."""
    versions = RunFolder(path).evaluation().versions
    began: dict[str, CheckpointInfo | None] = {
        "controller": versions.controller,
        "first": versions.first,
        versions.executor.role: versions.executor,
    }
    for name, info in began.items():
        here = checkpoints.get(name)
        if info is None or here is None or not info.sha256 or info.model not in ("default", name):
            continue
        if here.sha256 != info.sha256:
            raise InvalidInput(
                f"{path} was begun with the {name} {info.checkpoint} ({short_hash(info.sha256)}); {here.folder} holds "
                f"{here.card.name} ({short_hash(here.sha256)}).",
                remedy="Name the folder of those checkpoints with --checkpoints, or start a new evaluation.",
                field="checkpoints",
            )


def check_planner(environment: Mapping[str, str] = os.environ) -> None:
    """Raise InvalidInput if no planner is set, EndpointUnusable if it does not answer."""
    url = environment.get("WAYMARK_PLANNER_URL", "").strip()
    if not url:
        raise InvalidInput(
            "The agent llm_plan needs a large model that plans, and none is named.",
            remedy="Set WAYMARK_PLANNER_URL and WAYMARK_PLANNER_MODEL.",
            field="agent",
        )
    key = environment.get("WAYMARK_PLANNER_KEY", "").strip()
    endpoint = Endpoint(url, environment.get("WAYMARK_PLANNER_MODEL", ""), key, settings="WAYMARK_PLANNER")
    parts = httpx.URL(endpoint.url)
    if any(
        environment.get(name) for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY") for name in (proxy, proxy.lower())
    ):
        return  # the proxy reaches it, not this machine
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.host, port), timeout=_ANSWER_SECONDS).close()
    except OSError as error:
        raise EndpointUnusable(
            f"The planner at {endpoint.address} cannot be reached: {error.strerror or error}.",
            remedy="Start it, or correct WAYMARK_PLANNER_URL.",
        ) from error


def _check_folder(folder: Path) -> None:
    """Raise CheckpointError if the named folder is not a folder."""
    if not folder.is_relative_to(CHECKPOINTS) and not folder.is_dir():
        raise CheckpointError(
            f"--checkpoints {str(folder)!r} {'is no folder' if os.path.lexists(folder) else 'does not exist'}.",
            remedy="Name a folder that holds controller/ and executor/.",
        )
