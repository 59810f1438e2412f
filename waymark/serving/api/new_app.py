"""The empty app that every HTTP service of Waymark begins with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI

from waymark import __version__
from waymark.serving.middleware import problem_documents
from waymark.serving.telemetry import observed_requests


def new_app(
    title: str, *statuses: int, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None
) -> FastAPI:
    """An app without routes and without FastAPI's own pages, whose place `docs` takes.

    `statuses` are those of problems that any of its routes may answer.
    """
    return FastAPI(
        title=title,
        version=__version__,
        lifespan=lifespan,
        telemetry=observed_requests.TELEMETRY,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        responses=problem_documents.describe(*statuses) or None,
    )
