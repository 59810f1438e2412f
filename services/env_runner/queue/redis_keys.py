"""Names of the Redis keys; the table is in the package's docstring."""

from __future__ import annotations

EVALUATIONS = "waymark:evaluations"
SUBMISSIONS = "waymark:submissions"
ACTIVE = "waymark:active"
DEAD = "waymark:dead"
EVALUATION = "waymark:evaluation:"
GROUP = "workers"


class Keys:
    """The keys of one evaluation."""

    def __init__(self, evaluation_id: str) -> None:
        self.evaluation = f"{EVALUATION}{evaluation_id}"
        self.manifest = f"{self.evaluation}:manifest"
        self.specs = f"{self.evaluation}:specs"
        self.queue = f"{self.evaluation}:queue"
        self.results = f"{self.evaluation}:results"
        self.trajectories = f"{self.evaluation}:trajectories"
        self.events = f"{self.evaluation}:events"
        self.waiting = f"{self.evaluation}:waiting"
        self.renewals = f"{self.evaluation}:renewals"
        self.released = f"{self.evaluation}:released"
