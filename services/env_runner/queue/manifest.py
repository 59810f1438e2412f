"""The episodes of an evaluation in Redis: the common fields of all specs once, and the other fields of each.

An evaluation that an older version stored has whole specs and no common fields; it can be read too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic import ValidationError
from pydantic_core import from_json

from services.env_runner.queue.records import unreadable
from waymark.contracts import EpisodeSpec


@dataclass(frozen=True, slots=True)
class Manifest:
    """Specs, split into common and own fields."""

    shared: str
    """Fields that are equal in all specs, as a JSON object."""
    own: dict[str, str]
    """Episode id to its other fields, as a JSON object."""

    @classmethod
    def of(cls, specs: Sequence[EpisodeSpec]) -> Self:
        """Split specs; the ids are the keys of their own parts and not repeated there."""
        fields = [spec.model_dump(mode="json", exclude={"id"}) for spec in specs]
        first = fields[0] if fields else {}
        shared = {name: value for name, value in first.items() if all(field[name] == value for field in fields)}
        own = [{name: value for name, value in field.items() if name not in shared} for field in fields]
        return cls(_json(shared), {spec.id: _json(text) for spec, text in zip(specs, own, strict=True)})

    def pairs(self) -> Iterator[str]:
        """Episode id and its own part in turn, in order of play."""
        for episode, own in self.own.items():
            yield episode
            yield own


def spec_of(episode: str, own: str, shared: str) -> EpisodeSpec:
    """The whole spec of an episode. Raises RecordDamaged."""
    try:
        return EpisodeSpec.model_validate({**from_json(shared), **from_json(own), "id": episode})
    except (ValueError, TypeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise unreadable(f"the spec of episode {episode}", reason) from error


def _json(fields: dict[str, Any]) -> str:
    return json.dumps(fields, separators=(",", ":"))
