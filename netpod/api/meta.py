"""What every Kubernetes object has: identity, labels, owners, conditions, and the time format.

Source: k8s.io/apimachinery pkg/apis/meta/v1/types.go.
"""

import functools
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

Json = Any
"""A JSON value netpod passes through without looking inside."""


class _Empty(dict[str, Any]):
    """A mapping that stays empty; hashable, so that a dataclass takes it as a default."""

    def __hash__(self) -> int:  # type: ignore[override]
        return 0

    def __setitem__(self, key: str, value: Any) -> None:
        raise TypeError("the empty mapping of an API object cannot be changed")


EMPTY: Mapping[str, Any] = _Empty()
IntOrString = int | str
ALWAYS = MappingProxyType({"always": True})
"""Field metadata: written even when zero, as upstream fields without `omitempty`."""


def always(default: Any) -> Any:
    """Declare a field that the codec writes even when it holds `default`."""
    return field(default=default, metadata=ALWAYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Struct:
    """A JSON object. `unknown` keeps, by JSON name, the fields netpod has no type for.

    A class with OPEN keeps part of its meaning there on purpose, e.g. a volume its source. Equal objects of a class
    with SHARED are decoded once, because many objects hold the same one.
    """

    OPEN: ClassVar[bool] = False
    SHARED: ClassVar[bool] = False
    unknown: Mapping[str, Json] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerReference(Struct):
    """Points to the object this one belongs to; same namespace, or cluster-scoped."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMeta(Struct):
    """Identity and bookkeeping of an object. Timestamps are RFC 3339 strings."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    self_link: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str = ""
    deletion_grace_period_seconds: int | None = None
    labels: Mapping[str, str] = EMPTY
    annotations: Mapping[str, str] = EMPTY
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()
    managed_fields: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Object(Struct):
    """An object with a kind. Subclasses give the defaults of `api_version` and `kind`."""

    api_version: str = always("")
    kind: str = always("")
    metadata: ObjectMeta = field(default_factory=ObjectMeta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition(Struct):
    """One aspect of an object's state. `status` is "True", "False" or "Unknown"."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    observed_generation: int = 0
    last_transition_time: str = ""
    last_probe_time: str = ""
    last_heartbeat_time: str = ""
    last_update_time: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSelectorRequirement(Struct):
    """`key operator values`; operator is In, NotIn, Exists or DoesNotExist."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSelector(Struct):
    """All of `match_labels` and `match_expressions`; an empty one matches everything, None nothing."""

    match_labels: Mapping[str, str] = EMPTY
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


class Key(NamedTuple):
    """Name of an object within its resource; `namespace` is "" for cluster-scoped ones."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def key_of(obj: Object) -> Key:
    """Return the object's key."""
    return Key(obj.metadata.namespace, obj.metadata.name)


def controller_of(obj: Object) -> OwnerReference | None:
    """Return the owner reference that has `controller: true`, if any."""
    return next((ref for ref in obj.metadata.owner_references if ref.controller), None)


def condition(conditions: tuple[Condition, ...], type_: str) -> Condition | None:
    """Return the condition of that type, if present."""
    return next((c for c in conditions if c.type == type_), None)


def now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


_UUID_MASK, _UUID_4 = 0xF000_C000 << 48, 0x4000_8000 << 48
"""Bits of a UUID that say what it is: version 4, variant 10."""


def new_uid() -> str:
    """Return a random UUID. Source: RFC 9562 section 5.4 (version 4, variant 10)."""
    # Unique, not secret: the kernel's random bytes cost two system calls each.
    bits = random.getrandbits(128) & ~_UUID_MASK | _UUID_4
    digits = f"{bits:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def timestamp(moment: datetime) -> str:
    """Format as metav1.Time: RFC 3339 in UTC, whole seconds."""
    return _timestamp(moment.replace(microsecond=0))


@functools.lru_cache(maxsize=16)
def _timestamp(second: datetime) -> str:
    # Not strftime, which writes the year 1, that Go calls zero, with one digit.
    return second.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def micro_timestamp(moment: datetime) -> str:
    """Format as metav1.MicroTime: RFC 3339 in UTC with six decimals."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_timestamp(text: str) -> datetime:
    """Read metav1.Time or MicroTime.

    Raises:
        ValueError: the text is no RFC 3339 time.
    """
    return datetime.fromisoformat(text)
