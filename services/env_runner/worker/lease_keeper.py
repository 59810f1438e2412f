"""Renews the leases of a worker in a thread of its own, so that a busy event loop cannot delay it."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import Final

from services.env_runner.queue import JobStore, Lease
from waymark.errors import JobStoreUnavailable, RecordDamaged

RENEWALS_PER_LEASE: Final = 10
"""Number of renewals of a lease within its period. A cancellation is noticed at the next renewal."""
_log = logging.getLogger(__name__)


class LeaseKeeper:
    """Renews leases in a thread and reports which of them are lost."""

    def __init__(self, store: JobStore, *, period: float) -> None:
        self._store = store
        self._period = period
        self._held: set[Lease] = set()
        self._lost: set[Lease] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
        self._thread.start()

    def hold(self, lease: Lease) -> None:
        """Renew this lease until it is dropped."""
        with self._lock:
            self._held.add(lease)

    def drop(self, lease: Lease) -> None:
        """Stop renewing this lease."""
        with self._lock:
            self._held.discard(lease)
            self._lost.discard(lease)

    def lost(self, lease: Lease) -> bool:
        """Whether another worker has the episode now, or its evaluation was cancelled."""
        with self._lock:
            return lease in self._lost

    def close(self) -> None:
        """Stop renewing."""
        self._closing.set()
        self._thread.join()

    def check(self) -> None:
        """Raise JobStoreUnavailable if the thread has died, because all leases would expire."""
        if not self._thread.is_alive() and not self._closing.is_set():
            raise JobStoreUnavailable(
                "The thread that renews leases has died.", remedy="Start the worker again, and report its log."
            )

    def _run(self) -> None:
        failed = ""
        while not self._closing.wait(self._period):
            with self._lock:
                held = list(self._held - self._lost)
            with suppress(JobStoreUnavailable):  # the next round tries again; a lost lease cannot commit anyway
                for lease in held:
                    try:
                        self._renew(lease)
                    except JobStoreUnavailable:
                        raise
                    except Exception as error:  # noqa: BLE001 - one lease's trouble must not cost the others theirs
                        if str(error) != failed:
                            failed = str(error)
                            _log.exception("The lease of episode %s cannot be renewed", lease.spec.id)
                with suppress(RecordDamaged):
                    self._store.look()

    def _renew(self, lease: Lease) -> None:
        if not self._store.renew(lease):
            with self._lock:
                self._lost.add(lease)
