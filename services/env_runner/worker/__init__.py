"""Plays episodes: a pool of simulator slots in one event loop, which gets episodes by leases from Redis.

worker        leases, plays and commits episodes
lease_keeper  renews the leases, and learns which are lost or cancelled
shared_lock   lets episodes play side by side, or one alone
slot          a place for one environment
process       the worker as a process
"""

from services.env_runner.worker.lease_keeper import LeaseKeeper
from services.env_runner.worker.run_worker import run, serve
from services.env_runner.worker.shared_lock import SharedLock
from services.env_runner.worker.worker import Worker

__all__ = ["LeaseKeeper", "SharedLock", "Worker", "run", "serve"]
