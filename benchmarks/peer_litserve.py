"""The executor's checkpoint, renderer and engine behind LitServe: `benchmarks.peers` runs it, in its own environment.

    python -m benchmarks.peer_litserve PORT

Batches as our executor does: at most 32 requests, 5 ms of waiting; one worker, since the engine uses all cores.
"""

from __future__ import annotations

import sys
from pathlib import Path

import litserve  # type: ignore[import-not-found]  # in an environment of its own

from waymark.contracts import ActionRequest
from waymark.inference import Generation, checkpoint
from waymark.inference.open_engine import open_generator
from waymark.worlds.registry import get_format

_FOLDER = Path("checkpoints/executor")


class Executor(litserve.LitAPI):  # type: ignore[misc]
    """A state in, an action out."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - the engine chooses
        """Load the checkpoint."""
        executor = checkpoint.load(_FOLDER, "executor")
        self.format = get_format(executor.card.prompt_format)
        self.generator = open_generator("ctranslate2", executor)

    # LitServe makes its schema from annotations; without any it hands over the JSON document.
    def decode_request(self, request):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """The prompt for a state."""
        return self.format.render("executor", ActionRequest.model_validate(request).state)

    def predict(self, prompts: list[str]) -> list[Generation]:
        """A batch of answers."""
        return self.generator.generate(prompts)

    def encode_response(self, output):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """The action and what it cost."""
        best = output.candidates[0]
        action = self.format.parse("executor", best.text)
        return {
            "action": action,
            "ended_subgoal": action is None,
            "logprob": best.logprob,
            "prompt_tokens": output.prompt_tokens,
        }


def main() -> None:
    """Serve on loopback."""
    api = Executor(max_batch_size=32, batch_timeout=0.005, api_path="/v1/action")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=60)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
