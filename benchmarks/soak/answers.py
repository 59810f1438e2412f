"""Every request is answered once, by its own answer.

Asks an executor without weights, whose queue is too small for its callers, for as many different states, and
asks again whatever is refused. Each answer is compared with what that very state must get, and the service's own count
with ours: none lost, none of somebody else, none answered twice.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import aiohttp
import typer
import uvloop
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from benchmarks.services import machine, running
from benchmarks.soak.verdict import JsonFile, finish
from waymark.agent.prompt import write_prompt
from waymark.contracts import ActionRequest, AgentState
from waymark.inference.engines.scripted import trial_policy
from waymark.loadtest import send_requests
from waymark.loadtest.sample_states import sample
from waymark.worlds.registry import get_format

_CALLERS: Final = 96
_QUEUE: Final = 8
_PAUSE: Final = 0.05
"""Before a refused request is sent again, in seconds, twice that at most."""


class Answers(BaseModel):
    """What became of many requests. All is well when `answered` and `service_answered` equal `requests`."""

    machine: str
    requests: int
    seconds: float
    answered: int
    """Different requests that got their own answer."""
    wrong: int
    """Answers that belong to another state or another request."""
    failed: dict[str, int]
    """What else came, by status or error."""
    refused: int
    """429s on the way, each followed by another try."""
    service_answered: int
    """Requests that the service's engine has run, by its own count."""

    @property
    def holds(self) -> bool:
        """None lost, none twice."""
        return self.answered == self.service_answered == self.requests and not self.wrong


def _states(count: int) -> Iterator[AgentState]:
    """Recorded states, each made different by its sub-goal."""
    recorded = [example.state for example in sample() if example.asked == "executor"]
    for number in range(count):
        yield recorded[number % len(recorded)].model_copy(update={"current_subgoal": f"go({number})"})


async def _ask_all(url: str, count: int, report: Callable[[int], None]) -> Answers:
    compact = get_format("compact")
    policy = trial_policy("executor", compact)
    answered: set[int] = set()
    outcomes: Counter[str] = Counter()
    numbered = enumerate(_states(count))

    async def call(http: aiohttp.ClientSession) -> None:
        for number, state in numbered:
            expected = compact.parse("executor", policy(write_prompt(compact, "executor", state))[0][0])
            outcome = await _ask_until_admitted(http, f"{url}/v1/action", number, state, expected, outcomes)
            outcomes[outcome] += 1
            if outcome == "answered":
                answered.add(number)
            report(number)

    began = asyncio.get_running_loop().time()
    async with send_requests.connect(key=None, timeout=60) as http:
        async with asyncio.TaskGroup() as callers:
            for _ in range(_CALLERS):
                callers.create_task(call(http))
        seconds = asyncio.get_running_loop().time() - began
        async with http.get(f"{url}/metrics") as response:
            metrics = await response.text()
    return Answers(
        machine=machine(),
        requests=count,
        seconds=seconds,
        answered=len(answered),
        wrong=outcomes.pop("wrong", 0),
        refused=outcomes.pop("refused", 0),
        service_answered=_run_by_engine(metrics),
        failed={name: times for name, times in outcomes.items() if name != "answered"},
    )


async def _ask_until_admitted(
    http: aiohttp.ClientSession, url: str, number: int, state: AgentState, expected: str | None, outcomes: Counter[str]
) -> str:
    headers = {"Content-Type": "application/json", "X-Request-ID": f"soak-{number}"}
    body = ActionRequest(state=state).model_dump_json().encode()
    while True:
        try:
            async with http.post(url, data=body, headers=headers) as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError) as error:
            return type(error).__name__
        if response.status == 429:
            outcomes["refused"] += 1
            await asyncio.sleep(_PAUSE * random.uniform(1, 2))
            continue
        if not response.ok:
            return str(response.status)
        own = response.headers["X-Request-ID"] == headers["X-Request-ID"]
        return "answered" if own and answer["action"] == expected else "wrong"


def _run_by_engine(metrics: str) -> int:
    samples = (sample for family in text_string_to_metric_families(metrics) for sample in family.samples)
    return round(sum(sample.value for sample in samples if sample.name == "waymark_batch_requests_sum"))


def answers(
    requests: Annotated[int, typer.Option(help="Number of requests.")] = 100_000, json: JsonFile = None
) -> None:
    """Every request is answered once, by its own answer."""
    console = Console(highlight=False)
    settings = {"ENGINE": "scripted", "MAX_QUEUE": str(_QUEUE)}
    with (
        tempfile.TemporaryDirectory() as scratch,
        running("services.executor", settings, Path(scratch) / "executor.log") as service,
        console.status("asking") as status,
    ):
        report = uvloop.run(_ask_all(service.url, requests, lambda done: status.update(f"asking {done:,}")))
    table = Table("requests", "answered once", "by the engine", "wrong", "failed", "refused, then answered", "a second")
    rate = f"{report.requests / report.seconds:.0f}"
    counts = (report.requests, report.answered, report.service_answered, report.wrong)
    table.add_row(*(f"{count:,}" for count in counts), str(report.failed or 0), f"{report.refused:,}", rate)
    console.print(table)
    summary = (
        f"{report.requests:,} requests: {report.requests - report.answered:,} lost, {report.wrong:,} wrong, "
        f"{report.service_answered - report.answered:,} answered twice"
    )
    finish(console, report, json, summary, holds=report.holds)
