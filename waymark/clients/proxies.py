"""HTTP clients for addresses outside: proxies and certificates from the environment, for this machine neither.

A call to loopback never goes through a proxy. What is wrong with the variables is an error of ours, which names them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx

from waymark.clients.addresses import is_loopback, shown
from waymark.errors import EndpointUnusable

_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def open_client(url: str, **options: Any) -> httpx.AsyncClient:
    """A client for one address. Raises EndpointUnusable where the variables for it cannot be used."""
    if is_loopback(url):
        try:
            return httpx.AsyncClient(trust_env=False, **options)
        except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:  # pragma: no cover - no variable is read
            raise EndpointUnusable(f"No connection to {shown(url)} can be set up: {type(error).__name__}.") from error
    try:
        return httpx.AsyncClient(**options)
    except ImportError as error:  # httpx wants another package for SOCKS
        raise EndpointUnusable(
            f"{shown(url)} would be reached through a SOCKS proxy, which is not supported ({named_proxies()}).",
            remedy="Name an HTTP proxy (http://host:port), or unset the variable.",
        ) from error
    except OSError as error:
        raise EndpointUnusable(
            f"The certificates that the environment names cannot be read: {_named(_CERTIFICATES)}.",
            remedy="Correct or unset the variable.",
        ) from error
    except (ValueError, httpx.InvalidURL) as error:  # its text may quote a proxy's password
        raise EndpointUnusable(
            f"The proxy that the environment names is no address: {named_proxies()}.",
            remedy="Write http://host:port, or unset the variable.",
        ) from error


def named_proxies(environment: Mapping[str, str] = os.environ) -> str:
    """The proxies that the environment names, without their passwords; empty where it names none."""
    return _named(_PROXIES, environment)


def _named(names: tuple[str, ...], environment: Mapping[str, str] = os.environ) -> str:
    return ", ".join(_set(names, environment))


def _set(names: tuple[str, ...], environment: Mapping[str, str]) -> Iterator[str]:
    for name in names:
        for spelling in (name, name.lower()):
            if value := environment.get(spelling):
                yield f"{spelling}={shown(value)}"
