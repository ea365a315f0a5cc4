"""A request and its answer as values, so that no handler knows the HTTP library."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from netpod import errors
from netpod.api.meta import EMPTY, Json
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
        """Do everything but write.

        Raises:
            BadRequest: `dryRun` has a value other than All.
        """
        value = self.query.get("dryRun", "")
        if value not in ("", "All"):
            raise errors.BadRequest(
                f'dryRun: Unsupported value: "{value}": supported values: "All"'
            )
        return bool(value)

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
        """A non-negative integer parameter.

        Raises:
            BadRequest: it is something else.
        """
        text = self.query.get(name, "")
        if not text:
            return default
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise errors.BadRequest(
                f'{name}: Invalid value: "{text}": must be a non-negative integer'
            )
        return int(text)


class Reply(NamedTuple):
    """An answer; `headers` may repeat a name."""

    status: int = 200
    body: bytes = b""
    content_type: str = negotiation.JSON
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preconditions:
    """What must hold of an object before it is deleted; "" asks nothing."""

    uid: str = ""
    resource_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """How to delete; `grace_period_seconds` None takes the object's own."""

    grace_period_seconds: int | None = None
    propagation_policy: str = ""
    preconditions: Preconditions = field(default_factory=Preconditions)
    dry_run: bool = False


POLICIES = ("", "Background", "Foreground", "Orphan")


def delete_options(call: Call) -> DeleteOptions:
    """DeleteOptions from the body, or from the query where the body has none.

    Raises:
        BadRequest: a value of the wrong type or outside its range.
    """
    data: dict[str, Json] = negotiation.body(call.body, call.content_type) if call.body else {}
    if data.get("kind", "DeleteOptions") != "DeleteOptions":
        raise errors.BadRequest(f"cannot delete: the body is a {data['kind']}, not DeleteOptions")
    grace = data.get("gracePeriodSeconds")
    if grace is None and "gracePeriodSeconds" in call.query:
        grace = call.number("gracePeriodSeconds")
    if grace is not None and (type(grace) is not int or grace < 0):
        raise errors.BadRequest("gracePeriodSeconds: must be a non-negative integer")
    policy = data.get("propagationPolicy") or call.query.get("propagationPolicy", "")
    orphan = data.get("orphanDependents")
    if not policy and isinstance(orphan, bool):
        policy = "Orphan" if orphan else "Background"
    if policy not in POLICIES:
        raise errors.BadRequest(
            f'propagationPolicy: Unsupported value: "{policy}": supported values: '
            '"Background", "Foreground", "Orphan"'
        )
    wanted = data.get("preconditions") or {}
    if not isinstance(wanted, dict):
        raise errors.BadRequest("preconditions: must be an object")
    dry_run = data.get("dryRun") or []
    if dry_run not in ([], ["All"]):
        raise errors.BadRequest('dryRun: supported values: "All"')
    return DeleteOptions(
        grace_period_seconds=grace,
        propagation_policy=policy,
        preconditions=Preconditions(
            uid=str(wanted.get("uid") or ""),
            resource_version=str(wanted.get("resourceVersion") or ""),
        ),
        dry_run=bool(dry_run) or call.dry_run,
    )


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
    return tuple(("Warning", f"299 - {quoted(text)}") for text in told)


def quoted(text: str) -> str:
    """A quoted-string for a header, which holds no control characters."""
    text = "".join(c if c.isprintable() else " " for c in text)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
