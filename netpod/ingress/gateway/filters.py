"""Filters and timeouts of a rule -> what HAProxy does to its requests, or why it cannot (pure).

Source: Gateway API reference, HTTPRouteFilter, HTTPRouteTimeouts.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from netpod.api import durations
from netpod.api.gateway import (
    HTTPHeaderFilter,
    HTTPPathModifier,
    HTTPRequestRedirectFilter,
    HTTPRouteFilter,
    HTTPRouteTimeouts,
)
from netpod.ingress.gateway.model import Redirect
from netpod.ingress.model import Options

Headers = tuple[tuple[str, str, str], ...]
_PATH = re.compile(r"/[A-Za-z0-9/._~%!$&'()*+,;=:@-]*")
_DAY_MS = 24 * 3_600_000


class UnsupportedError(Exception):
    """What netpod cannot do; becomes the route's condition."""


def options(
    filters: Iterable[HTTPRouteFilter], timeouts: HTTPRouteTimeouts | None, prefix: str
) -> Options:
    """Return what is done on the way to a backend.

    Args:
        filters: Of the rule, then of the backend; redirects are left aside.
        timeouts: Of the rule.
        prefix: The path that the match names.

    Raises:
        UnsupportedError: one cannot be done.
    """
    made = Options(read_ms=_timeout(timeouts))
    for item in filters:
        if item.request_header_modifier is not None:
            more = _headers(item.request_header_modifier)
            made = replace(made, request_headers=(*made.request_headers, *more))
        elif item.response_header_modifier is not None:
            more = _headers(item.response_header_modifier)
            made = replace(made, response_headers=(*made.response_headers, *more))
        elif item.url_rewrite is not None:
            full, stands_in = _path(item.url_rewrite.path, prefix)
            host = item.url_rewrite.hostname or ""
            made = replace(made, host=host, full_path=full, rewrite=stands_in)
        elif item.request_redirect is None:
            raise UnsupportedError(f"filters of type {item.type} are not served")
    return made


def redirect(filters: Iterable[HTTPRouteFilter], prefix: str) -> Redirect | None:
    """Return where a rule's filters send clients, if anywhere.

    Raises:
        UnsupportedError: one cannot be done.
    """
    found: HTTPRequestRedirectFilter | None = None
    headers: Headers = ()
    for item in filters:
        if item.request_redirect is not None:
            found = item.request_redirect
        if item.response_header_modifier is not None:
            headers = (*headers, *_headers(item.response_header_modifier))
    if found is None:
        return None
    full, stands_in = _path(found.path, prefix)
    return Redirect(
        scheme=found.scheme or "",
        host=found.hostname or "",
        port=found.port or 0,
        full_path=full,
        prefix=stands_in,
        status=found.status_code or 302,
        response_headers=headers,
    )


def _headers(modifier: HTTPHeaderFilter) -> Headers:
    return (
        *(("set", header.name, header.value) for header in modifier.set),
        *(("add", header.name, header.value) for header in modifier.add),
        *(("del", name, "") for name in modifier.remove),
    )


def _path(modifier: HTTPPathModifier | None, prefix: str) -> tuple[str, tuple[str, ...]]:
    """Return a whole path, or what is matched and what stands in for it."""
    if modifier is None:
        return "", ()
    for value in (modifier.replace_full_path, modifier.replace_prefix_match):
        if value and not _PATH.fullmatch(value):
            raise UnsupportedError(f"{value!r} is no path that requests can be sent to")
    if modifier.replace_full_path is not None:
        return modifier.replace_full_path or "/", ()
    return "", (prefix.rstrip("/"), modifier.replace_prefix_match or "/")


def _timeout(timeouts: HTTPRouteTimeouts | None) -> int:
    """The shorter of both, in milliseconds; 0 is the default."""
    if timeouts is None:
        return 0
    given = (timeouts.request, timeouts.backend_request)
    found = [durations.milliseconds(text) or 0 for text in given if text is not None]
    # 0s is no limit; a day is as good.
    return min((ms or _DAY_MS for ms in found), default=0)
