"""Files of a folder, served with fixed headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from fastapi import Request, Response
from starlette.staticfiles import StaticFiles


def file_server(folder: Path, headers: Mapping[str, str]) -> Callable[[str, Request], Awaitable[Response]]:
    """What answers a request with a file of the folder, by its name. A name that it lacks is a 404."""
    files = StaticFiles(directory=folder)

    async def serve(name: str, request: Request) -> Response:
        response = await files.get_response(name, request.scope)
        response.headers.update(headers)
        return response

    return serve
