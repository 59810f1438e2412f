"""A large model's stand-in that splits paths into sub-goals as such models do: mostly well, sometimes not.

`python -m tests.faulty_annotator` runs it as a process of its own and prints its address. What it does to a path
follows from the path, so a rerun meets the same faults. A repair question is answered well.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import signal
from collections import Counter
from itertools import groupby

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tests.chat_server import ChatServer

FAULTS = (
    "none",
    "missing",
    "extra",
    "reordered",
    "prose",
    "renamed",
    "none",
    "gap",
    "truncated",
    "thinking",
    "none",
    "busy",
)
SECONDS = 0.2
"""An answer takes as long."""


class FaultyAnnotator(ChatServer):
    """Splits a path wherever the verb changes. `asked` counts requests, by fault."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    async def _complete(self, request: Request) -> Response:
        messages = (await request.json())["messages"]
        question = messages[-1]["content"]
        path = next(message["content"] for message in reversed(messages) if message["content"].startswith("Task: "))
        repairs = not question.startswith("Task: ")
        actions = re.findall(r"'([^']*)'", question.partition("\n")[2])
        fault = "none" if repairs else fault_of(path)
        first = not self.asked[path]
        self.asked[path] += 1
        await asyncio.sleep(SECONDS)
        if fault == "busy" and first:
            return PlainTextResponse("overloaded", 529, {"retry-after": "0"})
        text, reason = answered(actions, fault)
        read = sum(len(message["content"]) for message in messages)
        usage = {"prompt_tokens": read // 4, "completion_tokens": len(text) // 4}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
        return JSONResponse({"object": "chat.completion", "choices": [choice], "usage": usage})


def fault_of(path: str) -> str:
    """What is done to the answer about a path."""
    return FAULTS[hashlib.sha256(path.encode()).digest()[0] % len(FAULTS)]


def answered(actions: list[str], fault: str) -> tuple[str, str]:
    """The text of an answer and why it ended."""
    middle = len(actions) // 2
    if fault == "missing":
        actions = [*actions[:middle], *actions[middle + 1 :]]
    elif fault == "gap":
        actions = [*actions[:middle], *actions[middle + 4 :]]
    elif fault == "extra":
        actions = [*actions[:middle], "look around", "open door to attic", *actions[middle:]]
    elif fault == "reordered" and len(actions) > middle + 1:
        actions = [*actions[:middle], actions[middle + 1], actions[middle], *actions[middle + 2 :]]
    elif fault == "renamed":
        actions = [action.replace("pick up", "take").title() for action in actions]
    lines = []
    for number, (verb, group) in enumerate(groupby(actions, key=lambda action: action.split(" ")[0].lower()), start=1):
        listed = list(group)
        name = re.sub(r"[^a-z0-9 ]", "", listed[-1].lower().removeprefix(verb).strip()) or "it"
        lines.append(f"{number}- {verb}({name}): {{" + ", ".join(f"'{action}'" for action in listed) + "}")
    text = "\n".join(lines)
    if fault == "prose":
        return (
            f"Sure! Here is the plan, split into sub-goals:\n\n{text}\n\nLet me know if that helps.",
            "stop",
        )
    if fault == "thinking":
        return f"<think>The path opens doors first: 1- open(x): {{'open x'}} maybe.</think>\n{text}", "stop"
    if fault == "truncated":
        return text[: len(text) * 2 // 3], "length"
    return text, "stop"


if __name__ == "__main__":
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before the server's thread starts, which inherits it
    with FaultyAnnotator() as server:
        print(server.url, flush=True)  # noqa: T201 - who started it reads the address
        signal.sigwait(ends)
        print(sum(server.asked.values()), "requests", flush=True)  # noqa: T201
