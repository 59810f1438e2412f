"""A service as a tool of other agents: the Model Context Protocol at `/mcp`, over streamable HTTP without sessions.

One tool a service, `next_subgoal` or `next_action`; its schemas are those of the HTTP contracts. Each request stands
alone, so any replica may answer it. What is wrong with a call is told to the calling model as a tool's error, in the
words of our own errors, so that it can mend it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.routing import Route

from waymark import __version__
from waymark.contracts import ActionRequest, ActionResponse, Contract, DecisionRequest, SubgoalRequest, SubgoalResponse
from waymark.errors import WaymarkError
from waymark.serving.decisions import Decided, action_response, subgoal_response
from waymark.serving.desk import Desk
from waymark.serving.settings import Service

_PATH: Final = "/mcp"
_log: Final = logging.getLogger("waymark")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_HINTS: Final = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
_REQUESTS: Final[dict[Service, type[DecisionRequest]]] = {"controller": SubgoalRequest, "executor": ActionRequest}
_ANSWERS: Final[dict[Service, Callable[[Decided], Contract]]] = {
    "controller": subgoal_response,
    "executor": action_response,
}
_TOOLS: Final[dict[Service, Tool]] = {
    "controller": Tool(
        name="next_subgoal",
        title="Next sub-goal",
        description=(
            "Names what an agent in a text world should reach next, e.g. navigate_to(kitchen) or "
            "pick_up(thermometer). Give the task, what `look around` says now, and what is known of the episode so "
            "far; complete_task() means that the agent believes to be done. Where `parsed` is false the model wrote no "
            "sub-goal; `raw` quotes it. It is a small model trained on ScienceWorld: it changes nothing and costs "
            "milliseconds. Ask again when the sub-goal has ended."
        ),
        input_schema=SubgoalRequest.model_json_schema(),
        output_schema=SubgoalResponse.model_json_schema(mode="serialization"),
        annotations=_HINTS,
    ),
    "executor": Tool(
        name="next_action",
        title="Next action",
        description=(
            "Picks the next action towards the state's current_subgoal in a text world, e.g. teleport to kitchen or "
            "pick up thermometer. `action` is null exactly when the sub-goal has ended: then ask for the next one. "
            "Where `parsed` is false the model wrote no action; `raw` quotes it. With "
            "valid_actions the answer is one of them. It is a small model trained on ScienceWorld: it changes nothing "
            "and costs milliseconds."
        ),
        input_schema=ActionRequest.model_json_schema(),
        output_schema=ActionResponse.model_json_schema(mode="serialization"),
        annotations=_HINTS,
    ),
}


class McpEndpoint:
    """The endpoint of one service.

    `loopback` says that the service listens on this machine alone: then only pages and names of this machine may ask,
    lest a web page reaches it by rebinding a name (DNS). Beyond loopback the service's keys guard it.
    """

    def __init__(self, desk: Desk, *, loopback: bool) -> None:
        service = desk.service
        tool, request, answer = _TOOLS[service], _REQUESTS[service], _ANSWERS[service]

        async def tools(_: Any, __: PaginatedRequestParams | None) -> ListToolsResult:
            return ListToolsResult(tools=[tool])

        async def call(_: Any, params: CallToolRequestParams) -> CallToolResult:
            if params.name != tool.name:
                raise MCPError(INVALID_PARAMS, f"The {service} has no tool {params.name!r}; it has {tool.name}.")
            try:
                decided = await desk.decide([request.model_validate(params.arguments or {})])
            except ValidationError as error:
                return _failed(_wrong(error))
            except WaymarkError as error:
                return _failed(str(error))
            except Exception as error:
                _log.exception("a call of %s failed", tool.name)
                raise MCPError(INTERNAL_ERROR, "The service failed at this call; its log says more.") from error
            found = answer(decided[0])
            return CallToolResult(
                content=[TextContent(text=found.model_dump_json())], structured_content=found.model_dump(mode="json")
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
            security_settings=_security(loopback=loopback),
            max_request_body_size=desk.limits.body_bytes,
        )

    def install(self, app: Starlette) -> None:
        """Answer at `/mcp` of an app, while `running`. Without sessions there is no stream to GET."""
        app.router.routes.append(Route(_PATH, StreamableHTTPASGIApp(self._requests), methods=["POST"]))

    def running(self) -> AbstractAsyncContextManager[None]:
        """What the app's lifespan must hold open; once."""
        return self._requests.run()


def _security(*, loopback: bool) -> TransportSecuritySettings:
    hosts = [each for name in _LOOPBACK for each in (name, f"{name}:*")]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=loopback,
        allowed_hosts=hosts,
        allowed_origins=[f"http://{host}" for host in hosts],
    )


def _failed(message: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=message)], is_error=True)


def _wrong(error: ValidationError) -> str:
    """What is wrong with which argument."""
    return "; ".join(f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()) + "."
