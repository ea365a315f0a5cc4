"""Label selectors: text or LabelSelector -> a query, compiled once, asked often. For fields see fieldselectors.py.

    selector     = requirement *( "," requirement )
    requirement  = key | "!" key | key ("=" | "==" | "!=") value
                 | key ("in" | "notin") "(" value *( "," value ) ")" | key (">" | "<") integer

A requirement on a key the labels lack: `!=`, `notin` and `!key` match, the others do not.

Source: k8s.io/apimachinery pkg/labels/selector.go, pkg/apis/meta/v1/helpers.go.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

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
_SIGNS = frozenset({"=", "==", "!=", "(", ")", ",", "<", ">"})
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
        raise BadRequest(str(error)) from None


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
        while token := self._peek():
            if token in _SIGNS:
                raise ValueError(f"found '{token}', expected: !, identifier, or 'end of string'")
            try:
                found.append(self._requirement())
            except ValueError as error:
                raise ValueError(f"unable to parse requirement: {error}") from None
            if not self._peek():
                break
            self._expect(",", ", expected: ',' or 'end of string'")
            token = self._peek()
            if not token or token in _SIGNS:
                raise ValueError(f"found '{token}', expected: identifier after ','")
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
            raise ValueError(f"found '{found}'{expected}")

    def _requirement(self) -> Requirement:
        if self._peek() == "!":
            self._take()
            return Requirement(self._key(), Operator.DOES_NOT_EXIST)
        key, word = self._key(), self._peek()
        if word in ("", ","):
            return Requirement(key, Operator.EXISTS)
        self._take()
        if word in ("=", "=="):
            return Requirement(key, Operator.EQUALS, _valid(key, self._value()))
        if word == "!=":
            return Requirement(key, Operator.NOT_EQUALS, _valid(key, self._value()))
        if word in ("in", "notin"):
            return Requirement(key, Operator(word), _valid(key, *self._values()))
        if word in ("<", ">"):
            bound = self._value()
            if not re.fullmatch(r"[+-]?\d+", bound):
                told = "for 'Gt', 'Lt' operators, the value must be an integer"
                raise ValueError(f'values[0]: Invalid value: "{bound}": {told}')
            return Requirement(key, Operator(word), frozenset({bound}))
        raise ValueError(f"found '{word}', expected: in, notin, =, ==, !=, gt, lt")

    def _key(self) -> str:
        key = self._take()
        if not key or key == "!" or key in _SIGNS:
            raise ValueError(f"found '{key}', expected: identifier")
        problems = validate_names.qualified_name(key)
        if problems:
            raise ValueError(f'<nil>: Invalid value: "{key}": {"; ".join(problems)}')
        return str(key)

    def _value(self) -> str:
        if self._peek() in ("", ",", ")"):
            return ""
        value = self._take()
        if value in ("=", "==", "!=", "!", "(", "<", ">"):
            raise ValueError(f"found '{value}', expected: identifier")
        return str(value)

    def _values(self) -> frozenset[str]:
        self._expect("(", " expected: '('")
        values = {self._value()}
        while self._peek() == ",":
            self._take()
            values.add(self._value())
        self._expect(")", ", expected: ',', ')' or identifier")
        return frozenset(values)


def _valid(key: str, *values: str) -> frozenset[str]:
    """The values, if labels can have them."""
    for index, value in enumerate(sorted(values)):
        if problems := validate_names.label_value(value):
            told = "; ".join(problems)
            raise ValueError(f'values[{index}][{key}]: Invalid value: "{value}": {told}')
    return frozenset(values)
