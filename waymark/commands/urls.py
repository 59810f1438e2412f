"""Addresses on the command line, checked before anything is sent."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from waymark.clients.addresses import shown
from waymark.errors import InvalidInput


def check_url(url: str) -> str:
    """The address of a service in the form that clients use. Raises InvalidInput if it is not an address."""
    text = url.strip()
    reason = ""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        reason = str(error)
    else:
        if parts.scheme not in ("http", "https"):
            reason = "it does not begin with http:// or https://"
        elif not parts.hostname:
            reason = "it names no host"
        elif port == 0:
            reason = "port 0 is no port of a server"
        elif any(letter.isspace() or not letter.isprintable() for letter in text):
            reason = "it holds a blank or a control character"
        elif parts.query or parts.fragment:
            reason = "it ends in a query or a fragment"
        else:
            try:
                httpx.URL(text)
                parts.hostname.encode("idna")
            except (httpx.InvalidURL, UnicodeError) as error:
                reason = str(error)
    if reason:
        raise InvalidInput(
            f"{shown(text)[:200]!r} is no address of a service: {reason}.",
            remedy="Give one such as http://127.0.0.1:8000.",
            field="url",
        )
    return text.rstrip("/")
