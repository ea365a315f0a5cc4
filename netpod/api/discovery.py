"""EndpointSlice: where a Service's pods are.

Source: k8s.io/api discovery/v1/types.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from netpod.api.core import ObjectReference
from netpod.api.meta import EMPTY, Object, Struct, always


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConditions(Struct):
    """None means unknown: read `ready` and `serving` as true, `terminating` as false."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForZone(Struct):
    """Zone that should consume the endpoint."""

    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForNode(Struct):
    """Node that should consume the endpoint."""

    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointHints(Struct):
    """Who should prefer the endpoint."""

    for_zones: tuple[ForZone, ...] = ()
    for_nodes: tuple[ForNode, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Struct):
    """One backend. Only `addresses[0]` is used."""

    addresses: tuple[str, ...] = always(())
    conditions: EndpointConditions = field(default_factory=EndpointConditions)
    hostname: str | None = None
    target_ref: ObjectReference | None = None
    deprecated_topology: Mapping[str, str] = EMPTY
    node_name: str | None = None
    zone: str | None = None
    hints: EndpointHints | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPort(Struct):
    """One port that every endpoint of the slice serves."""

    name: str | None = None
    protocol: str | None = None
    port: int | None = None
    app_protocol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSlice(Object):
    """Endpoints of one address family that share the same ports."""

    api_version: str = always("discovery.k8s.io/v1")
    kind: str = always("EndpointSlice")
    address_type: str = always("")
    endpoints: tuple[Endpoint, ...] = always(())
    ports: tuple[EndpointPort, ...] = always(())
