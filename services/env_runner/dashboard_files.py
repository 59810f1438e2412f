"""The dashboard at `/`: a page that asks the public interface as any other client does, and these routes for its files.

The files in `web/` are served as they are written: there is no build. They contain nothing private, so they need no
key; the page asks the user for a key if the interface needs one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, Response

from waymark.serving.static_files import file_server

WEB: Final = Path(__file__).with_name("web")
_SHELL: Final = "index.html"
_FILES: Final = "/web/"

_HEADERS: Final = {
    # Texts of episodes cannot run code or send data to other hosts, and no other page can frame this one.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Browsers check each file again and get 304, so after an update no page mixes old and new files.
    "Cache-Control": "no-cache",
}


def paths() -> frozenset[str]:
    """Every path that it serves. They are complete paths, so that no open path leads to another one."""
    return frozenset({"/", *(_FILES + file.name for file in WEB.iterdir())})


def install(app: FastAPI) -> None:
    """Add the routes of the page to an app. They are not part of its OpenAPI document."""
    serve = file_server(WEB, _HEADERS)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def shell(request: Request) -> Response:
        return await serve(_SHELL, request)

    @app.api_route(_FILES + "{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def file(name: str, request: Request) -> Response:
        return await serve(name, request)
