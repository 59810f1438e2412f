"""The base class of all contracts, and types with limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Text = Annotated[str, StringConstraints(max_length=20_000)]
Phrase = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Score = Annotated[int, Field(ge=-100, le=100)]


class Contract(BaseModel):
    """Base class of all messages. The text below a field is its description in every schema."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
