"""The page at `/docs`: Swagger UI over `/openapi.json`, from files of this package.

The page and the document contain nothing private, so they need no key. Nothing is loaded from another host. The
document is derived at the first request for it, in a thread, because that takes some tenths of a second.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, Response

from waymark.serving.static_files import file_server

_FOLDER: Final = Path(__file__).with_name("swagger")
_PAGE: Final = "index.html"
_FILES: Final = frozenset({"favicon-32x32.png", "start.js", "swagger-ui-bundle.js", "swagger-ui.css"})
_PATHS: Final = ("/docs", "/redoc")
_DOCUMENT: Final = "/openapi.json"
_HEADERS: Final = {
    # Swagger UI styles elements as it draws them, and its pictures are in its style sheet.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def paths() -> frozenset[str]:
    """Every path of the page and of what it reads."""
    return frozenset({*_PATHS, _DOCUMENT, *(f"/docs/{file}" for file in _FILES)})


def install(app: FastAPI) -> None:
    """Add these pages to an app without FastAPI's own pages. They are not part of the OpenAPI document."""
    serve = file_server(_FOLDER, _HEADERS)

    async def page(request: Request) -> Response:
        return await serve(_PAGE, request)

    async def file(request: Request) -> Response:
        return await serve(request.url.path.rpartition("/")[2], request)

    def document(_: Request) -> Response:
        return Response(json.dumps(app.openapi(), ensure_ascii=False), media_type="application/json")

    app.add_route(_DOCUMENT, document, methods=["GET", "HEAD"], include_in_schema=False)
    for path in _PATHS:
        app.add_route(path, page, methods=["GET", "HEAD"], include_in_schema=False)
    for name in _FILES:
        app.add_route(f"/docs/{name}", file, methods=["GET", "HEAD"], include_in_schema=False)
