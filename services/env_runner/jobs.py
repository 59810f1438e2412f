"""The job store under its established name; see `services.env_runner.queue`."""

from services.env_runner.queue import MAX_DELIVERIES, Event, JobStore, Lease

__all__ = ["MAX_DELIVERIES", "Event", "JobStore", "Lease"]
