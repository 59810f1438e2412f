"""Options about the endpoint of a large model, and its price, that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from waymark.commands.options import finite

UrlOption = Annotated[
    str,
    typer.Option(envvar="WAYMARK_LLM_URL", help="Base address of a chat endpoint, for example http://HOST:PORT/v1."),
]
ModelOption = Annotated[str, typer.Option(envvar="WAYMARK_LLM_MODEL", help="Name of the model at the endpoint.")]
ConcurrencyOption = Annotated[int, typer.Option(help="Concurrent requests.", min=1)]
TimeoutOption = Annotated[float, typer.Option(callback=finite, help="Seconds that an attempt may take.", min=0.1)]
PromptPriceOption = Annotated[
    float | None, typer.Option(callback=finite, help="Price of one million prompt tokens.", min=0)
]
CompletionPriceOption = Annotated[
    float | None, typer.Option(callback=finite, help="Price of one million completion tokens.", min=0)
]
