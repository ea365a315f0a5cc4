"""Lease: who holds something, and until when; also the node's heartbeat.

Source: k8s.io/api coordination/v1/types.go.
"""

from dataclasses import dataclass, field

from netpod.api.meta import Object, Struct, always


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSpec(Struct):
    """Times are metav1.MicroTime strings."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease(Object):
    """A claim that its holder renews."""

    api_version: str = always("coordination.k8s.io/v1")
    kind: str = always("Lease")
    spec: LeaseSpec = field(default_factory=LeaseSpec)
