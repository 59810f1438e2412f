"""A service's OpenAPI document: derived by FastAPI from the routes, with examples and with the real form of errors
added."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI
from pydantic_core import to_jsonable_python

from waymark.contracts import Problem
from waymark.serving.api import examples
from waymark.serving.api.openai import error_of

_JSON = "application/json"
_PROBLEM_JSON = "application/problem+json"
_PROBLEM = "#/components/schemas/Problem"
_ERRORS = "#/components/schemas/ErrorBody"
_Node = dict[str, Any]


def install(app: FastAPI, service: str, more: Mapping[str, examples.Shown] = MappingProxyType({})) -> None:
    """Add examples to an app's document. `service` is its name in `/info`; `more` are examples of its own routes."""
    shown = {**examples.ROUTES, **examples.OWN_ROUTES[service], **more}
    derive = app.openapi
    lock = threading.Lock()

    def described() -> _Node:
        with lock:
            return describe_once()

    def describe_once() -> _Node:
        if app.openapi_schema is None:
            document = derive()
            for name, operation in _operations(document):
                _describe(operation, shown.get(name))
            schemas = document["components"]["schemas"]
            schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schemas["Problem"].pop("$defs", {}))
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
        return derive()

    app.openapi = described  # type: ignore[method-assign]  # FastAPI documents this as the way


def _operations(document: _Node) -> Iterator[tuple[str, _Node]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def _describe(operation: _Node, shown: examples.Shown | None) -> None:
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in examples.PARAMETERS:
            parameter["example"] = examples.PARAMETERS[parameter["name"]]
    if shown is not None:
        for media in operation.get("requestBody", {}).get("content", {}).values():
            media["examples"] = _named(shown.requests)
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            for media in [*response.get("content", {}).values()][:1]:  # the others say the same in another form
                media["examples"] = _named(shown.answers) if shown is not None else {}
    _describe_errors(operation)


def _describe_errors(operation: _Node) -> None:
    """Errors are problem documents, or of OpenAI's form; FastAPI's own 422 is sent by nothing here."""
    responses = operation["responses"]
    theirs = any(_schema(response).get("$ref") == _ERRORS for response in responses.values())
    if theirs:
        responses.pop("422", None)
    for status in [status for status in responses if status.startswith(("4", "5"))]:
        problem = examples.PROBLEMS.get(422 if status == "400" else int(status))
        media: _Node = {"schema": {"$ref": _ERRORS if theirs else _PROBLEM}}
        if problem is not None:
            media["example"] = to_jsonable_python(error_of(problem)[1] if theirs else problem)
        content = {_JSON if theirs else _PROBLEM_JSON: media}
        responses[status] = {"description": HTTPStatus(int(status)).phrase, "content": content}


def _schema(response: _Node) -> _Node:
    schema: _Node = response.get("content", {}).get(_JSON, {}).get("schema", {})
    return schema


def _named(shown: Mapping[str, object]) -> _Node:
    return {words: {"summary": words, "value": to_jsonable_python(value)} for words, value in shown.items()}
