"""A request and its answer as values, so that no handler knows the HTTP library."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from netpod import errors
from netpod.api.meta import EMPTY
from netpod.apiserver import negotiation
from netpod.apiserver.authentication import User
from netpod.apiserver.routes import Route

VALIDATIONS = ("", "Ignore", "Warn", "Strict")


class Call(NamedTuple):
    """One authenticated and authorized request for a resource."""

    route: Route
    user: User
    query: Mapping[str, str] = EMPTY
    body: bytes = b""
    content_type: str = ""
    accept: str = ""
    user_agent: str = ""

    @property
    def dry_run(self) -> bool:
        """Do everything but write."""
        return self.query.get("dryRun", "") == "All"

    @property
    def validation(self) -> str:
        """What to do about unknown fields: Ignore, Warn (the default) or Strict.

        Raises:
            BadRequest: none of these.
        """
        value = self.query.get("fieldValidation", "")
        if value not in VALIDATIONS:
            raise errors.BadRequest(
                f'fieldValidation: Unsupported value: "{value}": supported values: '
                '"Ignore", "Strict", "Warn"'
            )
        return value or "Warn"

    def number(self, name: str, default: int = 0) -> int:
        """An integer parameter; one below zero says nothing, as if it were not given.

        Raises:
            BadRequest: it is something else.
        """
        text = self.query.get(name, "")
        if not text:
            return default
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            raise errors.BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax')
        return max(int(text), 0)

    def version(self) -> int:
        """The resourceVersion that is asked for, 0 without.

        Raises:
            BadRequest: it is no revision.
        """
        text = self.query.get("resourceVersion", "")
        if text and not re.fullmatch(r"[0-9]{1,18}", text):
            raise errors.BadRequest(
                f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": '
                "invalid syntax"
            )
        return int(text or 0)


class Reply(NamedTuple):
    """An answer; `headers` may repeat a name."""

    status: int = 200
    body: bytes = b""
    content_type: str = negotiation.JSON
    headers: tuple[tuple[str, str], ...] = ()


def warnings(call: Call, unknown: list[str]) -> tuple[tuple[str, str], ...]:
    """Warning headers about unknown fields, as fieldValidation asks.

    Raises:
        BadRequest: fieldValidation=Strict and there are some.
    """
    wanted = call.validation
    if not unknown or wanted == "Ignore":
        return ()
    told = [f'unknown field "{path}"' for path in unknown]
    if wanted == "Strict":
        kind = call.route.resource.kind
        version = call.route.resource.version
        raise errors.BadRequest(
            f'{kind} in version "{version}" cannot be handled as a {kind}: '
            f"strict decoding error: {', '.join(told)}"
        )
    return tuple(map(warning, told))


def warning(text: str) -> tuple[str, str]:
    """A header that kubectl shows to its user."""
    return "Warning", f"299 - {quoted(text)}"


def quoted(text: str) -> str:
    """A quoted-string for a header, which holds no control characters."""
    text = "".join(c if c.isprintable() else " " for c in text)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def text(header: str) -> str:
    """A header's value without the bytes that are no UTF-8, which nothing could write again."""
    return header if header.isascii() else header.encode(errors="replace").decode()
