"""The choice of waiting work for the next batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from waymark.inference.batching.fairness import Flow
from waymark.inference.batching.tickets import Ticket

CHOICE = 1.0
"""A batch is chosen among so many times the requests that it holds. Among more, less padding would be computed, but
some requests would wait for more batches. See docs/decisions/0321."""


@dataclass(slots=True)
class Supply:
    """Light work that is tokenised and not in a batch yet, for a quick guess at whether it fills one."""

    requests: int = 0
    rows: int = 0
    longest: int = 0
    """Tokens of the longest prompt."""

    @classmethod
    def of(cls, tickets: Iterable[Ticket]) -> Supply:
        """What these tickets are."""
        supply = cls()
        for ticket in tickets:
            supply.add(ticket)
        return supply

    def add(self, ticket: Ticket) -> None:
        """Count one more."""
        if not ticket.flow.heavy:
            self.requests += 1
            self.rows += ticket.rows
            self.longest = max(self.longest, ticket.length)

    def may_fill(self, *, max_batch: int, max_tokens: int) -> bool:
        """Whether a batch of it would reach one of these limits, if it were chosen in the order of arrival."""
        return self.requests >= max_batch or self.rows * self.longest > max_tokens


class Choice(NamedTuple):
    """A batch, and what it was chosen from."""

    batch: list[Ticket]
    """Sorted by length."""
    of_class: int
    """Amount of waiting work in its class: light or heavy."""
    of_kind: int
    """Amount of waiting work in its class that could share a batch with it."""


def choose_batch(
    ready: Sequence[Ticket], flow: Flow, *, max_batch: int, max_tokens: int, choice: float = CHOICE
) -> Choice:
    """A flow's oldest work with other work of the same kind and class.

    At most `max_batch` requests with `max_tokens` tokens, including padding, unless the oldest alone has more. The
    others are those nearest in length to the oldest, among the `choice` times `max_batch` oldest of their callers. Work
    of rare length is not passed over for long, because the oldest is always taken. `ready` is tokenised work, oldest
    first.
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
    alike = [ticket for _, ticket in ranked[: round(choice * max_batch)]]
    batch: list[Ticket] = [oldest]
    rows, longest = oldest.rows, oldest.length
    for ticket in sorted(alike, key=lambda ticket: abs(ticket.length - oldest.length)):
        if ticket is oldest:
            continue
        rows, longest = rows + ticket.rows, max(longest, ticket.length)
        if len(batch) == max_batch or rows * longest > max_tokens:
            break
        batch.append(ticket)
    return Choice(sorted(batch, key=lambda ticket: ticket.length), len(of_class), len(ranked))
