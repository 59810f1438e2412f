"""Checkpoints behind names: each verified, loaded and described before a service opens its port."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from waymark.contracts import AgentState, CheckpointInfo, Role
from waymark.errors import CheckpointError, InvalidInput
from waymark.inference import Generator, checkpoint
from waymark.inference.batching import CostModel
from waymark.inference.checkpoint import Checkpoint
from waymark.inference.engines.scripted import ScriptedGenerator, trial_policy
from waymark.inference.open_engine import open_generator
from waymark.serving.settings import ROLES, Service, ServiceSettings
from waymark.worlds.base import PromptFormat
from waymark.worlds.registry import get_format

_NAMED_ROLES: dict[str, Role] = {"flat": "flat", "first": "first"}
"""Names that promise a role; `default` promises its service's first role, any other name none."""
_SCRIPTED_FORMAT = "compact"
_NO_LIMIT = 1_000_000
_SCRIPTED_ANSWER = 1
_WARM_UP = AgentState(task="Your task is to look around.", look="This room is called the hallway.")


@dataclass(frozen=True)
class ServedModel:
    """One loaded checkpoint: what it is, how to write its prompts, and what answers them."""

    info: CheckpointInfo
    format: PromptFormat
    generator: Generator

    @property
    def role(self) -> Role:
        """What it was trained to do."""
        return self.info.role


Models = Mapping[str, ServedModel]


def open_models(service: Service, settings: ServiceSettings) -> dict[str, ServedModel]:
    """Verify and load what a service is told to serve.

    All are verified before any is loaded. Raises CheckpointError, EngineUnavailable, InvalidInput.
    """
    if settings.engine == "scripted":
        names = _folders(service, settings)
        return {name: scripted_model(name, _role_of(service, name) or ROLES[service][0]) for name in names}
    verified = verify_checkpoints(service, settings)
    return {name: _open(name, loaded, settings) for name, loaded in verified.items()}


def verify_checkpoints(service: Service, settings: ServiceSettings, *, quick: bool = False) -> dict[str, Checkpoint]:
    """The checkpoints that a service is told to serve, by name. `quick`: large files are not hashed.

    Raises CheckpointError, InvalidInput.
    """
    verified = {
        name: _verify(service, name, folder, quick=quick) for name, folder in _folders(service, settings).items()
    }
    if settings.engine == "ctranslate2":
        for loaded in verified.values():
            loaded.check_converted()
    return verified


def _folders(service: Service, settings: ServiceSettings) -> dict[str, Path]:
    folders = settings.checkpoints_of(service)
    if "default" not in folders:
        raise InvalidInput(
            "WAYMARK_CHECKPOINTS names no `default` checkpoint.", remedy="Add default=FOLDER.", field="checkpoints"
        )
    return folders


def open_model(folder: Path, role: Role, settings: ServiceSettings) -> ServedModel:
    """Verify and load one checkpoint of a role under the role's name, without a service.

    Raises CheckpointError, EngineUnavailable.
    """
    return _open(role, checkpoint.load(folder, role), settings)


def warm_up(models: Models) -> None:
    """Have each model answer once, since its first answer is slow. Raises what an engine does."""
    for model in models.values():
        model.generator.generate([model.format.render(model.role, _WARM_UP)])


def costs_of(model: ServedModel) -> CostModel:
    """How a model's requests are counted. One without weights writes answers that cost next to nothing."""
    has_weights = model.info.architecture != "scripted"
    return CostModel(
        max_prompt_tokens=model.info.max_input_tokens,
        answer_tokens=model.info.max_new_tokens if has_weights else _SCRIPTED_ANSWER,
        rereads_prompt=model.generator.rereads_prompt,
        candidate_weight=model.generator.candidate_weight,
    )


def scripted_model(name: str, role: Role, generator: Generator | None = None) -> ServedModel:
    """A model without weights: the policy that ships, or a generator of one's own."""
    prompt_format = get_format(_SCRIPTED_FORMAT)
    generator = generator or ScriptedGenerator(trial_policy(role, prompt_format))
    info = CheckpointInfo(
        model=name,
        checkpoint="scripted",
        sha256="",
        role=role,
        architecture="scripted",
        prompt_format=prompt_format.name,
        history_turns=prompt_format.history_turns,
        parameters=0,
        max_input_tokens=_NO_LIMIT,
        max_new_tokens=_NO_LIMIT,
        engine=generator.engine,
        dtype=generator.dtype,
    )
    return ServedModel(info=info, format=prompt_format, generator=generator)


def _role_of(service: Service, name: str) -> Role | None:
    """The role that a name promises, if it promises one."""
    role = ROLES[service][0] if name == "default" else _NAMED_ROLES.get(name)
    if role is not None and role not in ROLES[service]:
        raise InvalidInput(
            f"WAYMARK_CHECKPOINTS names {name!r}, which the {service} does not serve.",
            remedy=f"It serves checkpoints of role {' and '.join(ROLES[service])}.",
            field="checkpoints",
        )
    return role


def _verify(service: Service, name: str, folder: Path, *, quick: bool) -> Checkpoint:
    hashes = not quick or checkpoint.is_quick_to_hash(folder)
    loaded = checkpoint.load(folder, _role_of(service, name), hashes=hashes)
    if loaded.card.role not in ROLES[service]:
        raise CheckpointError(
            f"{folder} was trained as {loaded.card.role}, which the {service} does not serve.",
            remedy=f"Name a checkpoint of role {' or '.join(ROLES[service])}.",
        )
    return loaded


def _open(name: str, loaded: Checkpoint, settings: ServiceSettings) -> ServedModel:
    card = loaded.card
    prompt_format = get_format(card.prompt_format)
    generator = open_generator(
        settings.engine,
        loaded,
        device=settings.device,
        dtype=settings.dtype,
        threads=settings.threads,
        vllm_urls=settings.vllm_url,
        vllm_python=settings.vllm_python,
    )
    info = CheckpointInfo(
        model=name,
        checkpoint=card.name,
        sha256=loaded.sha256,
        role=card.role,
        architecture=card.architecture,
        prompt_format=card.prompt_format,
        history_turns=prompt_format.history_turns,
        parameters=card.parameters,
        max_input_tokens=card.max_input_tokens,
        max_new_tokens=card.max_new_tokens,
        engine=generator.engine,
        dtype=generator.dtype,
    )
    return ServedModel(info=info, format=prompt_format, generator=generator)
