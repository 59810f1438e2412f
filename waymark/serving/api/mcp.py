"""A service as a tool of other agents: the Model Context Protocol at `/mcp`, over streamable HTTP without sessions.

One tool a service, `next_subgoal` or `next_action`; its schemas are those of the HTTP contracts. Requests are
independent, so any replica may answer them. An error of a call is returned to the calling model as a tool error with
the text of our own error, so that the model can correct its call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from http import HTTPStatus
from types import NoneType
from typing import Any, Final

from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    CallToolRequestParams,
    CallToolResult,
    ErrorData,
    JSONRPCError,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)
from pydantic_core import from_json
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from waymark import __version__
from waymark.contracts import ActionRequest, ActionResponse, Contract, DecisionRequest, SubgoalRequest, SubgoalResponse
from waymark.errors import InputTooLarge, WaymarkError
from waymark.serving.api.validation import InvalidBody, Validator, sentence
from waymark.serving.decisions import Decided, action_response, subgoal_response
from waymark.serving.middleware.replayed_body import replayed
from waymark.serving.model_server import ModelServer
from waymark.serving.printable_text import printable
from waymark.serving.settings import Service
from waymark.worlds.base import World
from waymark.worlds.registry import world_of_format

PATH: Final = "/mcp"
_LONGEST_NAME: Final = 1_000
_LARGEST_ID: Final = 2**63
_SHORT_BODY: Final = 16_000
"""Bytes. An answer that repeats parts of a shorter body is short."""
_LONGEST_MESSAGE: Final = 2_000
_log: Final = logging.getLogger("waymark")
_HINTS: Final = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
_REQUESTS: Final[dict[Service, type[DecisionRequest]]] = {"controller": SubgoalRequest, "executor": ActionRequest}
_ANSWERS: Final[dict[Service, Callable[[Decided], Contract]]] = {
    "controller": subgoal_response,
    "executor": action_response,
}


def _tool(service: Service, world: World) -> Tool:
    """The one tool of a service, described for the world that its models were trained for."""
    trained = f"It is a small model trained on {world.title}: it changes nothing and costs milliseconds."
    doubts = f"Where `warnings` is not empty the state is not one of {world.title}, and the answer is a guess."
    if service == "controller":
        return Tool(
            name="next_subgoal",
            title="Next sub-goal",
            description=(
                f"Names what an agent in a text world should reach next, e.g. {' or '.join(world.example_subgoals)}. "
                "Give the task, what `look around` says now, and what is known of the episode so far; complete_task() "
                "means that the agent believes to be done. Where `parsed` is false the model wrote no sub-goal; `raw` "
                f"quotes it. {doubts} {trained} Ask again when the sub-goal has ended."
            ),
            input_schema=SubgoalRequest.model_json_schema(),
            output_schema=SubgoalResponse.model_json_schema(mode="serialization"),
            annotations=_HINTS,
        )
    return Tool(
        name="next_action",
        title="Next action",
        description=(
            "Picks the next action towards the state's current_subgoal in a text world, e.g. "
            f"{' or '.join(world.example_actions)}. `action` is null exactly when the sub-goal has ended: then ask for "
            "the next one. Where `parsed` is false the model wrote no action; `raw` quotes it. With valid_actions the "
            f"answer is one of them. {doubts} {trained}"
        ),
        input_schema=ActionRequest.model_json_schema(),
        output_schema=ActionResponse.model_json_schema(mode="serialization"),
        annotations=_HINTS,
    )


class McpEndpoint:
    """The endpoint of one service. Host names and origins are checked in front of all routes (`hosts`)."""

    def __init__(self, model_server: ModelServer) -> None:
        service = model_server.service
        tool = _tool(service, world_of_format(model_server.models["default"].format.name))
        request, answer = _REQUESTS[service], _ANSWERS[service]

        requests = Validator(request)

        async def tools(_: Any, __: PaginatedRequestParams | None) -> ListToolsResult:
            return ListToolsResult(tools=[tool])

        async def call(_: Any, params: CallToolRequestParams) -> CallToolResult:
            if params.name != tool.name:
                name = printable(params.name, 100)
                raise MCPError(INVALID_PARAMS, f"The {service} has no tool {name!r}; it has {tool.name}.")
            try:
                decided = await model_server.decide([requests.python(params.arguments or {})])
            except InvalidBody as error:
                return _failed(sentence(error))
            except WaymarkError as error:
                return _failed(printable(str(error), _LONGEST_MESSAGE))
            except Exception as error:
                _log.exception("a call of %s failed", tool.name)
                raise MCPError(INTERNAL_ERROR, "The service failed at this call; its log says more.") from error
            response = answer(decided[0])
            return CallToolResult(
                content=[TextContent(text=response.model_dump_json())],
                structured_content=response.model_dump(mode="json"),
            )

        server: Server[Any] = Server(
            f"waymark-{service}",
            version=__version__,
            title=f"Waymark {service}",
            instructions=tool.description,
            on_list_tools=tools,
            on_call_tool=call,
        )
        self._requests = StreamableHTTPSessionManager(
            server,
            stateless=True,
            json_response=True,
            security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            max_request_body_size=model_server.limits.body_bytes,
        )

    def install(self, app: Starlette) -> None:
        """Answer at `/mcp` of an app, while `running`. Without sessions there is no stream to GET."""
        app.router.routes.append(
            Route(PATH, _CheckedEnvelopes(StreamableHTTPASGIApp(self._requests)), methods=["POST"])
        )

    def running(self) -> AbstractAsyncContextManager[None]:
        """A context that the app's lifespan must hold open; can be entered once."""
        return self._requests.run()


class _CheckedEnvelopes:
    """Answers the calls whose JSON-RPC envelope is wrong, and refuses those with a long `id` or `method`, because the
    protocol repeats them in answers.

    In the protocol of 2025 the library takes a call with a wrong `id` (null, 1.5, a list) for a notification: it
    accepts it with 202 and never answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        body: bytes = message.get("body", b"")
        with suppress(ValueError):  # the endpoint reports that it is not JSON
            call = from_json(body)
            if len(body) > _SHORT_BODY:
                _check_names(call)
            if problem := _wrong_envelope(call):
                error = JSONRPCError(jsonrpc="2.0", id=None, error=ErrorData(code=INVALID_REQUEST, message=problem))
                answer = error.model_dump_json(by_alias=True, exclude_unset=True)
                await Response(answer, HTTPStatus.BAD_REQUEST, media_type="application/json")(scope, receive, send)
                return
        await self._app(scope, replayed(message, receive), send)


def _wrong_envelope(call: Any) -> str | None:
    """What is wrong with the envelope of a call; None where the library says so itself."""
    if not isinstance(call, dict):
        return "The body must be a JSON object, which is one call."
    if "method" not in call or "id" not in call:
        return None
    name = call["id"]
    if isinstance(name, str) or (isinstance(name, int) and not isinstance(name, bool) and abs(name) < _LARGEST_ID):
        return None
    got = {list: "a list", dict: "an object", int: "a larger number", NoneType: "null"}.get(
        type(name), str(name).lower()
    )
    return f"The id must be a string, or an integer of at most 64 bits; got {got}."


def _check_names(call: Any) -> None:
    named = call if isinstance(call, dict) else {}
    for field in ("id", "method"):
        if isinstance(named.get(field), str) and len(named[field]) > _LONGEST_NAME:
            raise InputTooLarge(f"{field} is longer than {_LONGEST_NAME} characters.", field=field)


def _failed(message: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=message)], is_error=True)
