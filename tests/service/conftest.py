"""The env-runner in this process: a real Redis, and both services as apps behind their clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from services.env_runner.app import create_app
from services.env_runner.provenance import Provenance
from services.env_runner.queue import JobStore
from services.env_runner.settings import Settings
from tests.serving import scripted_services
from waymark.clients.services import EvaluationClient


@pytest.fixture
async def app(store: JobStore, tmp_path: Path) -> AsyncIterator[FastAPI]:
    """An env-runner that writes to `tmp_path`."""
    async with scripted_services() as services:
        settings = Settings(environment="scripted", runs=tmp_path)
        app = create_app(settings, store, *services, Provenance("scripted", "abc"))
        async with app.router.lifespan_context(app):
            yield app


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Asks the env-runner by paths."""
    async with httpx.AsyncClient(base_url="http://localhost", transport=httpx.ASGITransport(app)) as client:
        yield client


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[EvaluationClient]:
    """Asks the env-runner by methods."""
    async with EvaluationClient("http://localhost", transport=httpx.ASGITransport(app)) as client:
        yield client
