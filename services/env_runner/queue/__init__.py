"""Evaluation jobs on Redis Streams: leases of episodes, and their results, each counted exactly once.

This package holds the only import of redis. It needs Redis 6.2 with AOF and `noeviction`. Calls block for under a
millisecond on a local Redis (`lease` for as long as it is told) and are safe from several threads.

    key                                 type    holds
    waymark:protocol                    string  version of these records, and of the env-runner that wrote it
    waymark:evaluations                 zset    evaluation id by its time of creation
    waymark:submissions                 hash    idempotency key to the id of the evaluation submitted under it
    waymark:active                      list    ids of evaluations with episodes to play, whose turn it is first
    waymark:dead                        stream  log of episodes given up after MAX_DELIVERIES: their specs
    waymark:evaluation:ID               hash    evaluation (JSON), shared (JSON: what all specs have in common),
                                                cancelled, and the counters finished, errored, score_sum
    waymark:evaluation:ID:manifest      list    id of every episode, in order of play
    waymark:evaluation:ID:specs         hash    episode id to the rest of its EpisodeSpec (JSON)
    waymark:evaluation:ID:waiting       string  CheckpointMismatch JSON, while a worker waits for the right checkpoint
    waymark:evaluation:ID:queue         stream  one entry an episode that waits or is being played; its consumer
                                                group `workers` holds the leases; absent when nothing is to play
    waymark:evaluation:ID:renewals      hash    entry of the queue to how often its leases were given and renewed
    waymark:evaluation:ID:released      list    entries of the queue that were given back, to be leased first
    waymark:evaluation:ID:results       hash    episode id to EpisodeResult JSON without its turns
    waymark:evaluation:ID:trajectories  hash    episode id to the whole EpisodeResult, zlib over JSON
    waymark:evaluation:ID:events        stream  result: the same JSON as in results, in order of commit
    waymark:play:…                              sessions of play along, see `queue.play_along`

The manifest is authoritative. `enqueue` enqueues every episode that the manifest lists and that is neither in the
results nor in the queue: the first submission, a resumption and the recovery of a lost queue are the same call.

A lease is a queue entry delivered to a consumer. Consumer and delivery count together fence it: once another
has claimed the entry, or a cancellation has removed it, renewal tells its holder to stop and a commit is refused.

A lease ends when its holder stops renewing it. Each renewal increments a number. A worker that looks for episodes notes
on its own monotonic clock when it first saw a number (`abandoned_leases`). Redis' clock is not used, so changing it has
no effect.

Evaluations take turns: each lease serves the next of them, so a short one does not wait for a long one to end.
"""

from services.env_runner.queue.job_store import WAITING_SECONDS, JobStore
from services.env_runner.queue.lease import MAX_DELIVERIES, Event, Lease

__all__ = ["MAX_DELIVERIES", "WAITING_SECONDS", "Event", "JobStore", "Lease"]
