"""Validates JSON bodies as models, at limited cost even if every value is wrong.

Pydantic validates every item of a list, even after a wrong one, and describes each error. So validation of a list stops
at its first wrong item. Only a short body is validated again to collect all errors. At most `SHOWN_ERRORS` errors are
shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from pydantic_core import SchemaValidator

from waymark.contracts import FieldProblem
from waymark.serving.printable_text import printable

SHOWN_ERRORS: Final = 20
_FIELD_LENGTH: Final = 200
_MESSAGE_LENGTH: Final = 300
_SHORT: Final = 10_000
"""A body with at most so many commas is validated again to collect all errors."""
_MOST_DESCRIBED: Final = 10_000
"""Largest number of errors that are described; each takes one to three microseconds."""
_LISTS: Final = frozenset({"list", "tuple", "set", "frozenset"})


class InvalidBody(RequestValidationError):
    """An invalid body: the first errors, the number of errors found, and whether the whole body was checked."""

    def __init__(self, errors: Sequence[Any], total: int, *, complete: bool = True) -> None:
        super().__init__(errors)
        self.total = total
        self.complete = complete


class Validator:
    """Validates JSON texts, and values that were read from one, as a type."""

    def __init__(self, kind: Any) -> None:
        self._all: TypeAdapter[Any] = TypeAdapter(kind)
        schema = _leave_at_first_error(self._all.core_schema)
        self._first = SchemaValidator(schema, _use_prebuilt=False)

    def json(self, body: bytes) -> Any:
        """The body as a value of the type. Raises InvalidBody."""
        try:
            return self._first.validate_json(body)
        except ValidationError as error:
            if body.count(b",") >= _SHORT:
                raise _invalid(error, "body", complete=False) from None
        try:
            return self._all.validate_json(body)
        except ValidationError as error:
            raise _invalid(error, "body") from None

    def python(self, value: Any) -> Any:
        """A value of the type. Raises InvalidBody."""
        try:
            return self._all.validate_python(value)
        except ValidationError as error:
            raise _invalid(error, "arguments") from None


def _leave_at_first_error(schema: Any) -> Any:
    """A copy of a schema of pydantic-core whose lists end at their first wrong item."""
    if isinstance(schema, Mapping):
        copy = {name: _leave_at_first_error(value) for name, value in schema.items()}
        return {**copy, "fail_fast": True} if copy.get("type") in _LISTS else copy
    if isinstance(schema, list):
        return [_leave_at_first_error(value) for value in schema]
    return schema


def _invalid(error: ValidationError, where: str, *, complete: bool = True) -> InvalidBody:
    total = error.error_count()
    if total > _MOST_DESCRIBED:
        too_many: list[Any] = [{"type": "too_many", "loc": (where,), "msg": f"{total:,} fields are wrong or unknown"}]
        return InvalidBody(too_many, total)
    errors = error.errors(include_url=False, include_input=False)[:SHOWN_ERRORS]
    return InvalidBody([{**problem, "loc": (where, *problem["loc"])} for problem in errors], total, complete=complete)


def field_problems(error: RequestValidationError) -> tuple[tuple[FieldProblem, ...], int]:
    """The first errors for a problem document, and how many more there are. Places begin with `body`, `query`, …"""
    errors = error.errors()
    total = error.total if isinstance(error, InvalidBody) else len(errors)
    shown = tuple(_field_problem(problem) for problem in errors[:SHOWN_ERRORS])
    return shown, 0 if shown and errors[0]["type"] == "too_many" else total - len(shown)


def _field_problem(error: Mapping[str, Any]) -> FieldProblem:
    if error["type"] == "json_invalid":
        return FieldProblem(field="", message=printable(f"The body is not valid JSON: {error['ctx']['error']}"))
    field = ".".join(printable(str(part), _FIELD_LENGTH) for part in error["loc"][1:])
    message = error["msg"].removeprefix("Value error, ")  # a word of pydantic's for our own messages
    return FieldProblem(field=printable(field, _FIELD_LENGTH), message=printable(message, _MESSAGE_LENGTH))


def sentence(error: RequestValidationError) -> str:
    """What is wrong, in one line: the first three problems, and how many there are beside them."""
    problems, more = field_problems(error)
    words = "; ".join(
        f"{problem.field}: {problem.message}" if problem.field else problem.message for problem in problems[:3]
    )
    more += max(0, len(problems) - 3)
    words += f"; and {more:,} more." if more else "."
    return words if not isinstance(error, InvalidBody) or error.complete else f"{words} What follows was not looked at."
