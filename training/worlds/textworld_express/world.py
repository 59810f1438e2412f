"""TextWorldExpress as training sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from training.worlds.base import PathSource, RecordingRequest, TrainingWorld
from training.worlds.textworld_express.recording import PER_GAME, Recording
from waymark.contracts import Role
from waymark.worlds.registry import get_world

_FOLDER: Final = Path("build/textworld_express")


class TextWorldExpressTraining(TrainingWorld):
    """Implements `TrainingWorld`. Its data are recorded in a minute or two, so none are kept in the repository."""

    world = get_world("textworld-express")
    path_sources = ("shortened", "gold")
    data = _FOLDER / "trajectories.parquet"
    annotations = _FOLDER / "annotations.parquet"
    runs = _FOLDER / "runs"
    checkpoints = Path("checkpoints/textworld_express")
    recipe = Path("training/recipes/textworld-express.json")

    def recording(self, request: RecordingRequest) -> Recording:
        """The simulator's paths, with as many renamed takes as there are paths unless told otherwise."""
        paths = self.path_source(request)
        if request.sampling != "all":
            raise self._lacks("no published sampling", "Use --sampling all.", "sampling")
        if request.misplaced:
            raise self._lacks("no takes with misplaced things", "Leave out --misplaced.", "misplaced")
        limit = request.limit or PER_GAME
        options = self.world.default_options if request.options is None else request.options
        self.world.check_options(options, ())
        return Recording(paths, limit, request.limits, limit if request.takes is None else request.takes, options)

    def table(self, paths: PathSource | None) -> Path:
        """Gold paths have a table of their own."""
        return _FOLDER / "gold.parquet" if paths == "gold" else self.data

    def default_format(self, role: Role, *, as_published: bool) -> str:  # noqa: ARG002
        """The world has one format."""
        return "textworld-plain"


WORLD = TextWorldExpressTraining()
