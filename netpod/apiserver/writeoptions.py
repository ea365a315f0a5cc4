"""Parameters of writes, upstream's CreateOptions to DeleteOptions: what they mean and what they may be.

Source: k8s.io/apimachinery pkg/apis/meta/v1/validation/validation.go.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from netpod import errors
from netpod.api.meta import Json
from netpod.apiserver import negotiation, status
from netpod.apiserver.calls import Call

OPTIONS = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}
"""Kind of what a write's parameters are, by verb."""
MAX_MANAGER = 128


def check_options(call: Call) -> None:
    """Refuse parameters of a write that mean nothing.

    Raises:
        Invalid: `dryRun` is not All, or `fieldManager` cannot be one.
    """
    query = call.query
    found = []
    if "dryRun" in query and query["dryRun"] != "All":
        found.append(_dry_run_fault([query["dryRun"]]))
    manager = query.get("fieldManager", "")
    if len(manager.encode()) > MAX_MANAGER:
        told = f"Too long: must have at most {MAX_MANAGER} bytes"
        found.append(
            errors.FieldError(field="fieldManager", reason="FieldValueTooLong", message=told)
        )
    for position, character in enumerate(manager):
        if not character.isprintable():
            told = (
                f"Invalid value: {json.dumps(manager)}: "
                f"invalid character U+{ord(character):04X} (at position {position})"
            )
            found.append(
                errors.FieldError(field="fieldManager", reason="FieldValueInvalid", message=told)
            )
    if found:
        raise status.invalid(OPTIONS[call.route.verb], "meta.k8s.io", "", found)


def _dry_run_fault(values: list[str]) -> errors.FieldError:
    shown = ", ".join(json.dumps(value) for value in values)
    told = f'Unsupported value: []string{{{shown}}}: supported values: "All"'
    return errors.FieldError(field="dryRun", reason="FieldValueNotSupported", message=told)


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
_FALSE = ("false", "0")


def delete_options(call: Call) -> DeleteOptions:
    """DeleteOptions from the body, or from the query where the body has none.

    Raises:
        BadRequest: a value of the wrong type.
        Invalid: a value that means nothing, or two that contradict each other.
    """
    data: Mapping[str, Json] = {}
    if call.body and call.body.strip() != b"null":
        data = negotiation.body(call.body, call.content_type)
    if data.get("kind", "DeleteOptions") != "DeleteOptions":
        raise errors.BadRequest(
            f'no kind "{data["kind"]}" is registered for version "{data.get("apiVersion", "")}" in scheme '
            '"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"'
        )
    grace = data.get("gracePeriodSeconds")
    if grace is None and "gracePeriodSeconds" in call.query:
        grace = call.number("gracePeriodSeconds")
    if grace is not None and type(grace) is not int:
        raise errors.BadRequest("gracePeriodSeconds: expected an integer")
    wanted = data.get("preconditions")
    if not isinstance(wanted, dict | None):
        raise errors.BadRequest("preconditions: expected an object")
    wanted = wanted or {}
    dry_run = data.get("dryRun")
    if not isinstance(dry_run, list | None):
        raise errors.BadRequest("dryRun: expected a list")
    if dry_run is None and "dryRun" in call.query:
        dry_run = [call.query["dryRun"]]
    return DeleteOptions(
        grace_period_seconds=None if grace is None else max(grace, 0),
        propagation_policy=_policy(call, data, dry_run or []),
        preconditions=Preconditions(
            uid=str(wanted.get("uid") or ""),
            resource_version=str(wanted.get("resourceVersion") or ""),
        ),
        dry_run=bool(dry_run),
    )


def _policy(call: Call, data: Mapping[str, Json], dry_run: list[Json]) -> str:
    """The propagation policy, also from what was asked before there were policies."""
    policy = data.get("propagationPolicy") or call.query.get("propagationPolicy", "")
    orphan = data.get("orphanDependents")
    if orphan is None and "orphanDependents" in call.query:
        orphan = call.query["orphanDependents"].lower() not in _FALSE
    faults = []
    if policy and orphan is not None:
        told = f'Invalid value: "{policy}": orphanDependents and deletionPropagation cannot be both set'
        faults.append(("propagationPolicy", "FieldValueInvalid", told))
    if policy not in POLICIES:
        allowed = '"Foreground", "Background", "Orphan", "nil"'
        told = f'Unsupported value: "{policy}": supported values: {allowed}'
        faults.append(("propagationPolicy", "FieldValueNotSupported", told))
    found = [errors.FieldError(field=f, reason=r, message=m) for f, r, m in faults]
    if any(value != "All" for value in dry_run):
        found.append(_dry_run_fault([str(value) for value in dry_run]))
    if found:
        raise status.invalid("DeleteOptions", "meta.k8s.io", "", found)
    if not policy and isinstance(orphan, bool):
        return "Orphan" if orphan else "Background"
    return str(policy)
