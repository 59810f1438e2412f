"""Models: checkpoints, engines that run them, and the batching of requests for them.

All engines implement the protocol `Generator` with the same results. They do not use sub-goals or actions;
`waymark.serving` renders prompts and parses answers. Each engine has a module of its own, the only one that imports its
library: `scripted`, `ctranslate2`, `transformers`, `vllm`.
"""

from waymark.inference.generator import (
    Candidate,
    Encoded,
    Generation,
    Generator,
    Prompt,
    Remote,
    Steps,
    to_the_end,
)

__all__ = ["Candidate", "Encoded", "Generation", "Generator", "Prompt", "Remote", "Steps", "to_the_end"]
