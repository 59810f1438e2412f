"""From an engine's name and a verified checkpoint to a generator. An engine is imported only when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from waymark.errors import EngineUnavailable
from waymark.inference import Generator
from waymark.inference.checkpoint import Checkpoint
from waymark.inference.installed_engines import missing_package
from waymark.worlds.registry import get_format

Engine = Literal["ctranslate2", "transformers", "vllm", "scripted"]


def open_generator(
    engine: str,
    checkpoint: Checkpoint,
    *,
    device: str = "auto",
    dtype: str = "auto",
    threads: int = 0,
    vllm_urls: Sequence[str] = (),
    vllm_python: Path | None = None,
) -> Generator:
    """Load a checkpoint's weights. `threads` 0 means all cores that this process may use.

    vLLM is asked at `vllm_urls`; without any, one is started with the interpreter `vllm_python`.

    Raises EngineUnavailable when the engine cannot run here, CheckpointError when it cannot run this checkpoint.
    """
    card = checkpoint.card
    if engine == "scripted":
        from waymark.inference.engines.scripted import ScriptedGenerator, trial_policy

        return ScriptedGenerator(trial_policy(card.role, get_format(card.prompt_format)))
    if engine not in get_args(Engine):
        raise EngineUnavailable(f"Unknown engine {engine!r}.", remedy=f"Engines are {', '.join(get_args(Engine))}.")
    if engine == "vllm":
        from waymark.inference.engines.vllm import VllmGenerator

        return VllmGenerator(
            checkpoint, urls=vllm_urls, python=vllm_python, device=device, dtype=dtype, threads=threads
        )
    causal = card.architecture == "causal"
    try:
        if engine == "ctranslate2":
            from waymark.inference.engines import ctranslate2

            converted = ctranslate2.CausalGenerator if causal else ctranslate2.Seq2SeqGenerator
            return converted(checkpoint, device=device, dtype=dtype, threads=threads)
        from waymark.inference.engines import transformers
    except ModuleNotFoundError as error:
        raise missing_package(engine, str(error.name)) from error
    original = transformers.CausalGenerator if causal else transformers.Seq2SeqGenerator
    return original(
        str(checkpoint.folder),
        max_input_tokens=card.max_input_tokens,
        max_new_tokens=card.max_new_tokens,
        device=device,
        dtype=dtype,
        threads=threads,
    )
