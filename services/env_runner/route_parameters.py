"""Parameters that several routes take."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

NAME = r"^[0-9A-Za-z][0-9A-Za-z._-]{0,99}$"
"""What ids of evaluations and episodes look like."""
EvaluationId = Annotated[str, Path(pattern=NAME, description="As it was answered when it was submitted.")]
RunId = Annotated[str, Path(pattern=NAME, description="As `GET /v1/runs` names it.")]
EpisodeId = Annotated[str, Path(pattern=NAME, description="As results and events name it.")]
