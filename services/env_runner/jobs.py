"""The job store under its established name; see `services.env_runner.queue`."""

from services.env_runner.queue import MAX_DELIVERIES, WAITING_SECONDS, Event, JobStore, Lease

__all__ = ["MAX_DELIVERIES", "WAITING_SECONDS", "Event", "JobStore", "Lease"]
