"""Who may ask the dashboard, and for what.

A token comes in the link, once, and goes into a cookie that no script reads and no other site sends. A request whose
Host is not this machine's loopback comes from a page that made its own name point here, and is refused; so is one whose
Origin is another.

Source: RFC 6265bis (SameSite, HttpOnly); CWE-350 for names that point here.
"""

import secrets
from enum import IntEnum
from urllib.parse import urlsplit

from aiohttp import web

from netpod.dashboard.links import Link

HOSTS = ("127.0.0.1", "localhost")


class Right(IntEnum):
    """What a token allows; each includes those below it."""

    NONE = 0
    VIEW = 1
    EDIT = 2


def cookie(link: Link) -> str:
    """Name of the cookie; cookies know no ports, so two clusters need two names."""
    return f"netpod-{link.port}"


def of_token(link: Link, token: str) -> Right:
    """What a token allows."""
    for right, known in ((Right.EDIT, link.edit), (Right.VIEW, link.view)):
        if secrets.compare_digest(token.encode(), known.encode()):
            return right
    return Right.NONE


def of_request(link: Link, request: web.Request) -> Right:
    """What a request may do, by its cookie or its bearer token."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = request.cookies.get(cookie(link), "")
    return of_token(link, token)


def is_local(request: web.Request) -> bool:
    """Whether a request was meant for this machine, and comes from our own page or from no page."""
    if urlsplit(f"//{request.headers.get('Host', '')}").hostname not in HOSTS:
        return False
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin", "same-site")
    return origin.lower() == f"http://{request.headers['Host'].lower()}"
