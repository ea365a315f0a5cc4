"""Field selectors: text -> a query, and the fields each kind can be selected by.

    selector = term *( "," term )
    term     = path ("=" | "==" | "!=") value

Source: k8s.io/apimachinery pkg/fields/selector.go; pkg/apis/*/v1/conversion.go AddFieldLabelConversionFunc.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from netpod.errors import BadRequest


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """One condition on one field: `path` is or, with `negated`, is not `value`."""

    path: str
    value: str
    negated: bool = False

    def __str__(self) -> str:
        return f"{self.path}{'!=' if self.negated else '='}{self.value}"


@dataclass(frozen=True, slots=True)
class FieldQuery:
    """All field requirements together; without any it matches everything."""

    requirements: tuple[FieldRequirement, ...] = ()
    _compiled: tuple[tuple[tuple[str, ...], str, bool], ...] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        compiled = tuple((tuple(r.path.split(".")), r.value, r.negated) for r in self.requirements)
        object.__setattr__(self, "_compiled", compiled)

    def matches(self, obj: Mapping[str, Any]) -> bool:
        """Say whether the object, as plain JSON values, is selected; an absent field reads as ""."""
        for path, wanted, negated in self._compiled:
            value: Any = obj
            for name in path:
                value = value.get(name) if isinstance(value, Mapping) else None
            if path == _SOURCE and not _text(value, path):
                value = obj.get("reportingComponent")
            if (_text(value, path) == wanted) is negated:
                return False
        return True

    @property
    def everything(self) -> bool:
        """Whether every object is selected."""
        return not self.requirements

    def exact(self, path: str) -> str | None:
        """Return the value the field must have, or None where other values may match too."""
        return next((r.value for r in self.requirements if r.path == path and not r.negated), None)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


_SOURCE = ("source",)
"""An event's component, which newer events only call the reporting one."""
_BOOLEANS = {("spec", "unschedulable"), ("spec", "hostNetwork")}
_FIELD = re.compile(r"((?:[^\\=!,]|\\.)*)(==|!=|=)(.*)", re.DOTALL)
_EVENT_FIELDS = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)
_UNSUPPORTED = "field label not supported: {}"

FIELDS: Mapping[str, tuple[str, ...]] = {
    "CertificateSigningRequest": ("spec.signerName",),
    "CronJob": ("status.successful",),
    "Event": _EVENT_FIELDS,
    "Job": ("status.successful",),
    "Namespace": ("status.phase",),
    "Node": ("spec.unschedulable",),
    "Pod": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
    "ReplicaSet": ("status.replicas",),
    "ReplicationController": ("status.replicas",),
    "Secret": ("type",),
    "Service": ("spec.clusterIP", "spec.type"),
}
"""Fields by kind that upstream selects by, besides metadata.name and metadata.namespace."""
REFUSALS = {
    **dict.fromkeys(FIELDS, _UNSUPPORTED),
    "CronJob": 'field label "{}" not supported for "CronJob"',
    "Job": 'field label "{}" not supported for batchv1.Job',
    "ReplicaSet": "",
}
"""What is said of any other field of a kind; "" for what is said of kinds not named here."""
RENAMED: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("events.k8s.io", "Event"): {
        **{
            f"regarding.{name}": f"involvedObject.{name}"
            for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion")
        },
        "regarding.fieldPath": "involvedObject.fieldPath",
        "reportingController": "reportingComponent",
        "reason": "reason",
        "type": "type",
    }
}
"""Of kinds that show others' objects: its fields and where they are stored."""
_STORED = {"status.successful": "status.succeeded"}


@functools.lru_cache(maxsize=1024)
def parse_fields(text: str, kind: str = "", group: str = "") -> FieldQuery:
    r"""Read a field selector, e.g. `spec.nodeName=worker,status.phase!=Failed`.

    In values `\,`, `\=` and `\\` stand for the character itself.

    Args:
        text: The selector; "" selects everything.
        kind: When given, only the fields upstream supports for this kind are accepted.
        group: Of the kind, where the same objects are served in two.

    Raises:
        BadRequest: the text is no field selector, or the field is not supported for the kind.
    """
    found = []
    for term in filter(None, re.findall(r"(?:[^\\,]|\\.|\\$)+", text, re.DOTALL)):
        match = _FIELD.fullmatch(term)
        if match is None:
            raise BadRequest(f"invalid selector: '{text}'; can't understand '{term}'")
        path, operator, value = match.groups()
        value = _unescaped(value)
        if not path and not value:
            continue
        if kind:
            path = _known(path, kind, group)
        found.append(FieldRequirement(path, value, operator == "!="))
    return FieldQuery(tuple(found))


def _unescaped(value: str) -> str:
    made, escaped = [], False
    for character in value:
        if escaped and character not in "\\,=":
            raise BadRequest(f"invalid field selector: invalid escape sequence: \\{character}")
        if not escaped and character == "=":
            raise BadRequest(f"invalid field selector: unescaped character in value: {ord('=')}")
        escaped = character == "\\" and not escaped
        if not escaped:
            made.append(character)
    if escaped:
        raise BadRequest("invalid field selector: invalid escape sequence: \\")
    return "".join(made)


def _known(path: str, kind: str, group: str) -> str:
    """Where a field that a kind may be selected by is stored."""
    if path in ("metadata.name", "metadata.namespace"):
        return path
    renamed = RENAMED.get((group, kind))
    if renamed is not None and path in renamed:
        return renamed[path]
    if renamed is None and path in FIELDS.get(kind, ()):
        return _STORED.get(path, path)
    if refusal := REFUSALS.get(kind, ""):
        raise BadRequest(refusal.format(path))
    names = ("metadata.name", "metadata.namespace", *FIELDS.get(kind, ()))
    only = ", ".join(f'"{name}"' for name in names)
    raise BadRequest(f'"{path}" is not a known field selector: only {only}')


def _text(value: Any, path: tuple[str, ...]) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or (value is None and path in _BOOLEANS):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return str(value.get("component", "")) if path == _SOURCE else ""
    return "" if value is None else str(value)
