"""`python -m training annotate --annotator llm` as a process, against a real server that speaks chat completions.

The server behaves by the task that it is asked about: well, or badly in one of the ways in which endpoints do.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tests.chat_server import ChatServer
from tests.oracle import of_different_tasks, one_of_each_task, write_paths
from training.annotations import annotate_by_rule, read_annotations, write_annotations

ROOT = Path(__file__).parents[2]
KEY = "sk-very-secret"
_SECONDS = 300
HTTP_FAILURES = {
    "busy once": (429, "slow down"),
    "failing once": (500, "oh"),
    "failing": (503, "the backend is down"),
    "refusing": (400, "this model's context is too short"),
    "not json": (200, "<html>gateway</html>"),
}


class Annotator(ChatServer):
    """A model that names every two actions `do(N)`. `behaviours` says for which tasks it does something else."""

    def __init__(self) -> None:
        super().__init__()
        self.behaviours: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        """How often each task was asked about, repairs included."""
        self.stop_after: int | None = None
        """After so many requests the server is silent."""

    async def _complete(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return JSONResponse({"error": {"message": "Incorrect API key"}}, 401)
        body = await request.json()
        assert body["model"] == "test-model"
        messages = [message["content"] for message in body["messages"] if message["role"] == "user"]
        task = next(message for message in reversed(messages) if message.startswith("Task: ")).partition("\n")[0]
        task = task.removeprefix("Task: ")
        repairing = not messages[-1].startswith("Task: ")
        actions = re.findall(r"'([^']*)'", messages[-1].partition("\n")[2])
        self.asked[task] += 1
        if self.stop_after is not None and sum(self.asked.values()) > self.stop_after:
            await asyncio.sleep(_SECONDS)
        behaviour = self.behaviours.get(task, "good")
        if behaviour == "hanging":
            await asyncio.sleep(_SECONDS)
        if behaviour in HTTP_FAILURES and (self.asked[task] == 1 or not behaviour.endswith("once")):
            status, text = HTTP_FAILURES[behaviour]
            return PlainTextResponse(text, status, {"retry-after": "0"})
        if behaviour == "malformed" or (behaviour == "malformed once" and not repairing):
            return self._completion("Here are the sub-goals: navigate, pick up, done!")
        if behaviour == "truncated" or (behaviour == "truncated once" and not repairing):
            half = written_out(actions)[: len(written_out(actions)) // 2]
            return self._completion("" if behaviour == "truncated" else half, finish_reason="length")
        if behaviour == "forgetful" and not repairing:
            return self._completion(written_out([*actions[:2], *actions[5:]]))
        return self._completion(written_out(actions))

    def _completion(self, text: str, finish_reason: str = "stop") -> JSONResponse:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        return JSONResponse({"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage})


def written_out(actions: Sequence[str]) -> str:
    pieces = (actions[at : at + 2] for at in range(0, len(actions), 2))
    return "\n".join(
        f"{number}- do({number}): {{" + ", ".join(f"'{action}'" for action in piece) + "}"
        for number, piece in enumerate(pieces, start=1)
    )


@pytest.fixture
def server() -> Iterator[Annotator]:
    with Annotator() as running:
        yield running


def start(server: Annotator, folder: Path, data: Path, *arguments: str, key: str = KEY) -> subprocess.Popen[str]:
    """The command, in a folder of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYMARK_")}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "NO_PROXY": "127.0.0.1",
        "WAYMARK_LLM_URL": server.url,
        "WAYMARK_LLM_MODEL": "test-model",
        "WAYMARK_LLM_KEY": key,
    }
    command = [sys.executable, "-m", "training", "annotate", "--annotator", "llm", "--data", str(data), *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(server: Annotator, folder: Path, data: Path, *arguments: str, key: str = KEY) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    process = start(server, folder, data, *arguments, key=key)
    out, err = process.communicate(timeout=_SECONDS)
    return process.returncode, out, err


def result(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The table that was written, and its manifest."""
    table = folder / "build" / "llm" / "annotations.parquet"
    return table, json.loads(table.with_suffix(".manifest.json").read_text())


GOOD = ("good", "busy once", "failing once", "malformed once", "truncated once", "forgetful")
BAD = {
    "failing": "the backend is down",
    "refusing": "context is too short",
    "hanging": "did not answer within 2 seconds",
    "not json": "no chat completion: <html>",
    "malformed": "holds no sub-goals",
    "truncated": "Raise max_tokens",
}


def test_every_path_is_annotated_or_listed_with_a_reason(server: Annotator, tmp_path: Path) -> None:
    chosen = [path for path in one_of_each_task() if len(path.steps) > 8][: len(GOOD) + len(BAD)]
    of_behaviour = dict(zip([*GOOD, *BAD], chosen, strict=True))
    server.behaviours = {path.task: behaviour for behaviour, path in of_behaviour.items()}
    data = write_paths(chosen, tmp_path)
    limits = ("--attempts", "2", "--timeout", "2", "--concurrency", "8")
    prices = ("--prompt-price", "2", "--completion-price", "50")
    code, _, err = run(server, tmp_path, data, *limits, *prices)
    table, manifest = result(tmp_path)

    assert code == 1
    annotations = read_annotations(table)
    for behaviour in GOOD:
        path = of_behaviour[behaviour]
        annotation = annotations[path.key]
        segments = annotation.segments
        assert annotation.annotator == "llm:test-model"
        assert [segment.start for segment in segments] == [0, *(segment.stop for segment in segments[:-1])]
        assert segments[-1].stop == len(path.steps)
        assert segments[-1].subgoal == "complete_task()"
        assert segments[0].stop == 2
    assert len(annotations) == len(GOOD)

    reasons = {(failure["task_id"], failure["variation"]): failure["reason"] for failure in manifest["failed"]}
    for behaviour, reason in BAD.items():
        path = of_behaviour[behaviour]
        assert reason in reasons[path.task_id, path.variation]
        assert reason in err
    assert len(reasons) == len(BAD)
    kept = [name for failure in manifest["failed"] for name in failure["answers"]]
    assert len(kept) == 6  # three answers of the malformed path, three of the truncated one
    assert all((tmp_path / "build" / "llm" / "cache" / name).exists() for name in kept)

    asked = manifest["usage"]["asked"]
    assert (
        asked["prompt"] == 100 * asked["answers"] == 100 * (len(GOOD) + 3 + 6)
    )  # each "once" but the HTTP ones asks twice
    assert manifest["cost"]["asked"] == pytest.approx(asked["answers"] * (100 * 2 + 10 * 50) / 1e6)
    assert KEY not in err + json.dumps(manifest)

    server.behaviours, server.asked = {}, Counter()
    code, _, _ = run(server, tmp_path, data, *limits)
    assert code == 0
    assert sum(server.asked.values()) == len(BAD)
    assert len(read_annotations(table)) == len(chosen)


def test_a_run_that_was_ended_goes_on_without_paying_twice(server: Annotator, tmp_path: Path) -> None:
    chosen = [task for task_id in ("2-1", "2-2", "3-3") for task in of_different_tasks(task_id, 8)]
    data = write_paths(chosen, tmp_path)
    cache = tmp_path / "build" / "llm" / "cache"
    for answers, end in ((5, signal.SIGINT), (10, signal.SIGKILL)):
        server.stop_after, server.asked = answers, Counter()  # some may go to the process that was ended before
        process = start(server, tmp_path, data)
        while len(list(cache.glob("*.json"))) < answers:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(end)
        _, err = process.communicate(timeout=_SECONDS)
        assert not (tmp_path / "build" / "llm" / "annotations.parquet").exists()
        if end == signal.SIGINT:
            assert process.returncode == 130
            assert "run the same command again to continue" in err
            assert "Traceback" not in err

    kept = len(list(cache.glob("*.json")))
    server.stop_after = None
    code, _, err = run(server, tmp_path, data)
    assert code == 0, err
    table, manifest = result(tmp_path)
    assert len(list(cache.glob("*.json"))) == kept + manifest["usage"]["asked"]["answers"]
    assert kept >= 10
    assert len(read_annotations(table)) == len(chosen)
    assert len(list((cache / "examples").glob("*.json"))) == 3

    first = table.read_bytes()
    server.asked = Counter()
    assert run(server, tmp_path, data)[0] == 0
    assert sum(server.asked.values()) == 0
    assert table.read_bytes() == first


def test_an_endpoint_that_always_fails_is_soon_asked_no_more(server: Annotator, tmp_path: Path) -> None:
    chosen = one_of_each_task()
    server.behaviours = dict.fromkeys((path.task for path in chosen[2:]), "failing")
    code, _, err = run(server, tmp_path, write_paths(chosen, tmp_path), "--attempts", "1", "--concurrency", "2")
    assert code == 1, err
    assert "Stopped asking after 5 failed requests in a row (--give-up-after)." in err
    assert "the backend is down" in err
    assert sum(server.asked.values()) < 12
    table, manifest = result(tmp_path)
    assert len(manifest["failed"]) + len(read_annotations(table)) == len(chosen)


def test_a_refused_key_ends_the_run_and_is_not_shown(server: Annotator, tmp_path: Path) -> None:
    code, _, err = run(server, tmp_path, write_paths(one_of_each_task(), tmp_path), key="sk-wrong-key")
    assert code != 0
    assert "answered 401" in err
    assert "Check the key" in err
    assert "sk-wrong-key" not in err
    assert not (tmp_path / "build" / "llm" / "annotations.parquet").exists()


def test_a_dry_run_prints_the_prompts_and_calls_nothing(server: Annotator, tmp_path: Path) -> None:
    first, second, third = of_different_tasks("2-1", 3)
    data = write_paths([first, second, third], tmp_path)
    code, out, _ = run(server, tmp_path, data, "--dry-run", "--limit", "2")
    assert code == 0
    assert "- use OBJ on OBJ: use a tool" in out
    assert "1- navigate_to(kitchen): {'open door to kitchen', 'go to kitchen'}" in out
    assert f"Task: {first.task}\n" in out
    assert f"Task: {second.task}\n" in out
    assert f"Task: {third.task}\n" not in out
    assert sum(server.asked.values()) == 0
    assert not (tmp_path / "build").exists()


def test_two_annotators_are_compared_as_a_table_and_as_json(server: Annotator, tmp_path: Path) -> None:
    chosen = of_different_tasks("2-1", 4)
    assert run(server, tmp_path, write_paths(chosen, tmp_path))[0] == 0
    write_annotations(map(annotate_by_rule, chosen), tmp_path / "rule.parquet")
    arguments = [sys.executable, "-m", "training", "compare", "rule.parquet", "build/llm/annotations.parquet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}

    def output(*flags: str) -> str:
        command = [*arguments, *flags]
        return subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True, check=True).stdout

    facts = json.loads(output("--json"))
    assert (facts["left"], facts["right"]) == ("rule", "llm:test-model")
    assert facts["overall"]["paths"] == 4
    assert list(facts["overall"]["right"]["verbs"]) == ["do"]
    assert 0 < facts["overall"]["boundary_f1"] < 1
    table = output()
    assert "rule | llm:test-model" in table
    assert "same name" in table
