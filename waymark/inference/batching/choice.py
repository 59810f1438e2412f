"""Which of the work that waits is put into the next batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from waymark.inference.batching.fairness import Flow
from waymark.inference.batching.tickets import Ticket

_CHOICE = 2
"""Batches that the oldest work would fill, among which a batch is chosen by length. Out of all that waits a request of
rare length would be chosen late, and get its answer when nobody wants it any more."""


def choose_batch(ready: Sequence[Ticket], flow: Flow, *, max_batch: int, max_tokens: int) -> tuple[list[Ticket], int]:
    """A flow's oldest work and what of its kind and class is nearest to it in length, by length; and how much there is
    of its class.

    At most `max_batch` requests of, padding included, `max_tokens` tokens, unless the oldest alone has more. Chosen
    among the oldest of each caller alone, so that nobody is passed over for long. `ready` is tokenised, oldest first.
    """
    of_class = [ticket for ticket in ready if ticket.flow.heavy == flow.heavy]
    oldest = next(ticket for ticket in of_class if ticket.flow == flow)
    assert oldest.query is not None
    kind = oldest.query.kind
    before: Counter[Flow] = Counter()
    ranked: list[tuple[int, Ticket]] = []
    for ticket in of_class:
        if ticket.query is not None and ticket.query.kind == kind:
            ranked.append((before[ticket.flow], ticket))
            before[ticket.flow] += 1
    if len(before) > 1:
        ranked.sort(key=lambda entry: entry[0])
    alike = [ticket for _, ticket in ranked[: _CHOICE * max_batch]]
    batch: list[Ticket] = [oldest]
    rows, longest = oldest.rows, oldest.length
    for ticket in sorted(alike, key=lambda ticket: abs(ticket.length - oldest.length)):
        if ticket is oldest:
            continue
        rows, longest = rows + ticket.rows, max(longest, ticket.length)
        if len(batch) == max_batch or rows * longest > max_tokens:
            break
        batch.append(ticket)
    return sorted(batch, key=lambda ticket: ticket.length), len(of_class)
