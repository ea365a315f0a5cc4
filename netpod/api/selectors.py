"""Label and field selectors: text or LabelSelector -> a query, compiled once, asked often.

    selector     = requirement *( "," requirement )
    requirement  = key | "!" key | key ("=" | "==" | "!=") value
                 | key ("in" | "notin") "(" value *( "," value ) ")" | key (">" | "<") integer

A requirement on a key the labels lack: `!=`, `notin` and `!key` match, the others do not.

Source: k8s.io/apimachinery pkg/labels/selector.go, pkg/fields/selector.go, pkg/apis/meta/v1/helpers.go.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from netpod.api import validate_names
from netpod.api.meta import LabelSelector
from netpod.errors import BadRequest

Labels = Mapping[str, str]


class Operator(StrEnum):
    """What a requirement asks of one key."""

    EQUALS = "="
    NOT_EQUALS = "!="
    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    DOES_NOT_EXIST = "!"
    GREATER_THAN = ">"
    LESS_THAN = "<"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def __str__(self) -> str:
        values = ",".join(sorted(self.values))
        match self.operator:
            case Operator.EXISTS:
                return self.key
            case Operator.DOES_NOT_EXIST:
                return f"!{self.key}"
            case Operator.IN | Operator.NOT_IN:
                return f"{self.key} {self.operator} ({values})"
        return f"{self.key}{self.operator}{values}"

    def compile(self) -> Callable[[Labels], bool]:
        """Return the condition as a function of labels."""
        key, values = self.key, self.values
        match self.operator:
            case Operator.EQUALS | Operator.IN:
                if len(values) == 1:
                    (only,) = values
                    return lambda labels: labels.get(key) == only
                return lambda labels: labels.get(key) in values
            case Operator.NOT_EQUALS | Operator.NOT_IN:
                return lambda labels: labels.get(key) not in values
            case Operator.EXISTS:
                return lambda labels: key in labels
            case Operator.DOES_NOT_EXIST:
                return lambda labels: key not in labels
        (bound,) = values
        limit, greater = int(bound), self.operator is Operator.GREATER_THAN

        def compare(labels: Labels) -> bool:
            try:
                number = int(labels[key])
            except (KeyError, ValueError):
                return False
            return number > limit if greater else number < limit

        return compare


@dataclass(frozen=True, slots=True)
class LabelQuery:
    """All requirements together; without any it matches everything, with `nothing` set, nothing."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False
    _checks: tuple[Callable[[Labels], bool], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_checks", tuple(r.compile() for r in self.requirements))

    def matches(self, labels: Labels) -> bool:
        """Say whether an object with these labels is selected."""
        if self.nothing:
            return False
        for check in self._checks:
            if not check(labels):
                return False
        return True

    @property
    def everything(self) -> bool:
        """Whether every object is selected."""
        return not self.nothing and not self.requirements

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


EVERYTHING = LabelQuery()
NOTHING = LabelQuery(nothing=True)

_EXPRESSION_OPERATORS = {
    "In": Operator.IN,
    "NotIn": Operator.NOT_IN,
    "Exists": Operator.EXISTS,
    "DoesNotExist": Operator.DOES_NOT_EXIST,
}
_TOKEN = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+)")


@functools.lru_cache(maxsize=1024)
def parse_labels(text: str) -> LabelQuery:
    """Read a label selector, e.g. `app=web,tier in (a,b),!legacy`; "" selects everything.

    Raises:
        BadRequest: the text is no selector; says where it stops being one.
    """
    try:
        return LabelQuery(_Parser(text).requirements())
    except ValueError as error:
        raise BadRequest(f'cannot parse label selector "{text}": {error}') from None


def from_labels(labels: Labels) -> LabelQuery:
    """Return the query for a plain map such as a Service's selector; an empty one selects nothing."""
    if not labels:
        return NOTHING
    return LabelQuery(
        tuple(Requirement(k, Operator.EQUALS, frozenset({v})) for k, v in sorted(labels.items()))
    )


def from_label_selector(selector: LabelSelector | None) -> LabelQuery:
    """Return the query of a LabelSelector: None selects nothing, an empty one everything.

    Raises:
        BadRequest: an operator is unknown (validation refuses such objects).
    """
    if selector is None:
        return NOTHING
    found = [
        Requirement(key, Operator.EQUALS, frozenset({value}))
        for key, value in sorted(selector.match_labels.items())
    ]
    for expression in selector.match_expressions:
        operator = _EXPRESSION_OPERATORS.get(expression.operator)
        if operator is None:
            raise BadRequest(f'"{expression.operator}" is not a valid label selector operator')
        found.append(Requirement(expression.key, operator, frozenset(expression.values)))
    return LabelQuery(tuple(found))


class _Parser:
    """Recursive descent over the tokens of one selector."""

    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)
        self._next = 0

    def requirements(self) -> tuple[Requirement, ...]:
        found: list[Requirement] = []
        while self._peek():
            found.append(self._requirement())
            if not self._peek():
                break
            self._expect(",", "',' or 'end of string'")
            if not self._peek():
                raise ValueError("found '', expected: identifier after ','")
        return tuple(sorted(found, key=lambda r: r.key))

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        self._next += 1
        return token

    def _expect(self, token: str, expected: str) -> None:
        found = self._take()
        if found != token:
            raise ValueError(f"found '{found}', expected: {expected}")

    def _requirement(self) -> Requirement:
        if self._peek() == "!":
            self._take()
            return Requirement(self._key(), Operator.DOES_NOT_EXIST)
        key, word = self._key(), self._peek()
        if word in ("", ","):
            return Requirement(key, Operator.EXISTS)
        self._take()
        if word in ("=", "=="):
            return Requirement(key, Operator.EQUALS, frozenset({self._value()}))
        if word == "!=":
            return Requirement(key, Operator.NOT_EQUALS, frozenset({self._value()}))
        if word in ("in", "notin"):
            return Requirement(key, Operator(word), self._values())
        if word in ("<", ">"):
            bound = self._value()
            if not re.fullmatch(r"-?\d+", bound):
                raise ValueError("for 'Gt', 'Lt' operators, the value must be an integer")
            return Requirement(key, Operator(word), frozenset({bound}))
        raise ValueError(f"found '{word}', expected: in, notin, =, ==, !=, gt, lt")

    def _key(self) -> str:
        key = self._take()
        if not key or key in ("=", "==", "!=", "!", "(", ")", ",", "<", ">"):
            raise ValueError(f"found '{key}', expected: !, identifier, or 'end of string'")
        problems = validate_names.qualified_name(key)
        if problems:
            raise ValueError(f'key: Invalid value: "{key}": {"; ".join(problems)}')
        return str(key)

    def _value(self) -> str:
        if self._peek() in ("", ",", ")"):
            return ""
        value = self._take()
        if value in ("=", "==", "!=", "!", "(", "<", ">"):
            raise ValueError(f"found '{value}', expected: identifier")
        problems = validate_names.label_value(value)
        if problems:
            raise ValueError(f'values[0]: Invalid value: "{value}": {"; ".join(problems)}')
        return str(value)

    def _values(self) -> frozenset[str]:
        self._expect("(", "'('")
        values = {self._value()}
        while self._peek() == ",":
            self._take()
            values.add(self._value())
        self._expect(")", "',', ')' or identifier")
        return frozenset(values)


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


_BOOLEANS = {("spec", "unschedulable"), ("spec", "hostNetwork")}
_FIELD = re.compile(r"((?:[^\\=!,]|\\.)+)(==|!=|=)((?:[^\\,=]|\\.)*)")
_ESCAPED = re.compile(r"\\([\\,=])")
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

FIELDS: Mapping[str, tuple[str, ...]] = {
    "Event": _EVENT_FIELDS,
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
    "Secret": ("type",),
    "Service": ("spec.clusterIP", "spec.type"),
}
"""Fields by kind that upstream selects by, besides metadata.name and metadata.namespace.

Source: pkg/apis/core/v1/conversion.go.
"""


@functools.lru_cache(maxsize=1024)
def parse_fields(text: str, kind: str = "") -> FieldQuery:
    r"""Read a field selector, e.g. `spec.nodeName=worker,status.phase!=Failed`.

    In values `\,`, `\=` and `\\` stand for the character itself.

    Args:
        text: The selector; "" selects everything.
        kind: When given, only the fields upstream supports for this kind are accepted.

    Raises:
        BadRequest: the text is no field selector, or the field is not supported for the kind.
    """
    found = []
    for term in filter(None, re.findall(r"(?:[^\\,]|\\.)+", text)):
        match = _FIELD.fullmatch(term)
        if match is None:
            raise BadRequest(f"invalid selector: '{text}'; can't understand '{term}'")
        path, operator, value = match.groups()
        if kind and path not in ("metadata.name", "metadata.namespace", *FIELDS.get(kind, ())):
            raise BadRequest(f'"{path}" is not a known field selector: only {_known(kind)}')
        found.append(FieldRequirement(path, _ESCAPED.sub(r"\1", value), operator == "!="))
    return FieldQuery(tuple(found))


def _known(kind: str) -> str:
    names = ("metadata.name", "metadata.namespace", *FIELDS.get(kind, ()))
    return ", ".join(f'"{name}"' for name in names)


def _text(value: Any, path: tuple[str, ...]) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or (value is None and path in _BOOLEANS):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return str(value.get("component", "")) if path == ("source",) else ""
    return "" if value is None else str(value)
