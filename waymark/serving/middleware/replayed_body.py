"""What a middleware needs that reads a request before the app does."""

from __future__ import annotations

from starlette.types import Message, Receive


def replayed(message: Message, receive: Receive) -> Receive:
    """A `receive` that gives a message that was read already, and after it what comes next."""
    was_given = False

    async def replay() -> Message:
        nonlocal was_given
        if was_given:
            return await receive()
        was_given = True
        return message

    return replay
