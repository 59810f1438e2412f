"""The names of the keys that Redis holds for one evaluation; `jobs` has the table of what is in them."""

from __future__ import annotations

from typing import Final

EVALUATION: Final = "waymark:evaluation:"
"""What all keys of an evaluation begin with; its id follows."""


class Keys:
    """The keys of one evaluation; see the table in `jobs`."""

    def __init__(self, evaluation_id: str) -> None:
        self.evaluation = f"{EVALUATION}{evaluation_id}"
        self.manifest = f"{self.evaluation}:manifest"
        self.specs = f"{self.evaluation}:specs"
        self.queue = f"{self.evaluation}:queue"
        self.results = f"{self.evaluation}:results"
        self.trajectories = f"{self.evaluation}:trajectories"
        self.events = f"{self.evaluation}:events"
        self.waiting = f"{self.evaluation}:waiting"
