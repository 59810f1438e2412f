"""How much memory Redis takes for an evaluation of protocol `full` that was submitted, before anything is played.

    python -m benchmarks.redis_memory [--simplifications CHARACTERS]

Submits 1,819 episodes to a Redis of its own and prints what `MEMORY USAGE` says of all keys together, and of the specs.
With `--simplifications` the text of the request has so many characters: this version refuses more than 200, older ones
had no limit.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import redis

from services.env_runner.queue import JobStore
from waymark.cli.embedded_redis import EmbeddedRedis
from waymark.contracts import EvaluationRequest, Versions
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.run_folder import Evaluation
from waymark.serving.loaded_models import scripted_model

MODEL = scripted_model("default", "executor").info.model_copy(
    update={
        "checkpoint": "waymark-executor",
        "sha256": "0" * 64,
        "architecture": "seq2seq",
        "engine": "ctranslate2",
        "dtype": "float32",
    }
)
"""As large as that of a real checkpoint."""
_NAME = "20260101-000000-full-abcdef"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--simplifications",
        type=int,
        default=0,
        help="Length of the text `simplifications`, in characters. Default: the text `easy`.",
    )
    length = parser.parse_args().simplifications
    text = ("easy," * length)[:length] if length else "easy"
    request = EvaluationRequest(protocol="full", simplifications=text)
    specs = episodes(_NAME, request)
    versions = Versions(waymark="0", commit=None, environment="scienceworld 1.2.3", controller=MODEL, executor=MODEL)
    created = "2026-01-01T00:00:00+00:00"
    evaluation = Evaluation(id=_NAME, request=request, created=created, versions=versions, episodes=len(specs))
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedRedis(Path(folder)) as server,
        redis.Redis.from_url(server.url) as client,
    ):
        store = JobStore(server.url)
        store.submit(evaluation, specs)
        taken = {key: client.memory_usage(key, samples=0) or 0 for key in client.scan_iter()}
        store.close()
    of_specs = taken[f"waymark:evaluation:{_NAME}:specs".encode()]
    total = sum(taken.values())
    sys.stdout.write(
        f"{len(specs)} episodes: {total / 1e6:.2f} MB in Redis, {of_specs / 1e6:.2f} MB of it for the specs\n"
    )


if __name__ == "__main__":
    main()
