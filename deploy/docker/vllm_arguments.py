"""Start vLLM's OpenAI server for one checkpoint, in vLLM's own image: `vllm_arguments.py FOLDER [option...]`.

The options are those that `waymark.inference.engines.vllm_process` starts a server with; a test holds the two equal.
Waymark is not installed in that image, so this needs nothing but Python. Further options go to vLLM as they are.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from pathlib import Path


def arguments(folder: Path) -> list[str]:
    """The server's options, from the checkpoint's card and configuration."""
    text = (folder / "card.json").read_bytes()
    card = json.loads(text)
    positions = json.loads((folder / "config.json").read_text()).get("max_position_embeddings", math.inf)
    room = min(card["max_input_tokens"] + 2 * card["max_new_tokens"], positions)
    name = f"{card['name']}@{hashlib.sha256(text).hexdigest()[:12]}"
    return [
        *("--model", str(folder)),
        *("--served-model-name", name),
        *("--load-format", "safetensors"),
        *("--generation-config", "vllm"),
        *("--max-model-len", str(room)),
        "--skip-tokenizer-init",
        "--enable-prefix-caching",
    ]


def main() -> None:
    """Become the server."""
    server = "vllm.entrypoints.openai.api_server"
    everywhere = "0.0.0.0"  # noqa: S104 - in a container, on a network of its own
    command = [sys.executable, "-m", server, *arguments(Path(sys.argv[1])), "--host", everywhere, *sys.argv[2:]]
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
