"""The small kinds of the core group: Namespace, ConfigMap, Secret, ServiceAccount, Event, Endpoints.

Source: k8s.io/api core/v1/types.go.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from netpod.api.meta import EMPTY, Condition, Json, Object, Struct, always


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceSpec(Struct):
    """`finalizers` must be empty before a namespace can go."""

    finalizers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceStatus(Struct):
    """`phase` is Active or Terminating."""

    phase: str = ""
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace(Object):
    """A scope for names."""

    api_version: str = always("v1")
    kind: str = always("Namespace")
    spec: NamespaceSpec = field(default_factory=NamespaceSpec)
    status: NamespaceStatus = field(default_factory=NamespaceStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMap(Object):
    """Configuration that pods and components read. `binary_data` values are base64."""

    api_version: str = always("v1")
    kind: str = always("ConfigMap")
    data: Mapping[str, str] = EMPTY
    binary_data: Mapping[str, str] = EMPTY
    immutable: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret(Object):
    """Secret bytes; `data` values are base64, `string_data` is write-only plain text."""

    api_version: str = always("v1")
    kind: str = always("Secret")
    type: str = ""
    data: Mapping[str, str] = EMPTY
    string_data: Mapping[str, str] = EMPTY
    immutable: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectReference(Struct):
    """Points to any object, or to a part of it by `field_path`."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    resource_version: str = ""
    field_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalObjectReference(Struct):
    """Points to an object of the same namespace."""

    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccount(Object):
    """An identity for processes in pods."""

    api_version: str = always("v1")
    kind: str = always("ServiceAccount")
    secrets: tuple[ObjectReference, ...] = ()
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    automount_service_account_token: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSource(Struct):
    """Which component said it, on which node."""

    component: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSeries(Struct):
    """How often and when last a repeated event happened."""

    count: int = 0
    last_observed_time: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Object):
    """Something that happened to an object; `type` is Normal or Warning."""

    api_version: str = always("v1")
    kind: str = always("Event")
    involved_object: ObjectReference = field(default_factory=ObjectReference)
    reason: str = ""
    message: str = ""
    source: EventSource = field(default_factory=EventSource)
    first_timestamp: str = ""
    last_timestamp: str = ""
    event_time: str = ""
    count: int = 0
    type: str = ""
    action: str = ""
    series: EventSeries | None = None
    related: ObjectReference | None = None
    reporting_component: str = always("")
    reporting_instance: str = always("")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAddress(Struct):
    """One address of an Endpoints subset."""

    ip: str = ""
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointsPort(Struct):
    """One port of an Endpoints subset (core/v1 EndpointPort)."""

    name: str = ""
    port: int = 0
    protocol: str = ""
    app_protocol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSubset(Struct):
    """Every address times every port."""

    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointsPort, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints(Object):
    """The legacy list of a Service's endpoints; one object for all of them."""

    api_version: str = always("v1")
    kind: str = always("Endpoints")
    subsets: tuple[EndpointSubset, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding(Object):
    """The scheduler's word: this pod (metadata) goes to that node (target)."""

    api_version: str = always("v1")
    kind: str = always("Binding")
    target: ObjectReference = field(default_factory=ObjectReference)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomResource(Object):
    """An object of a kind that a CustomResourceDefinition made; all but its metadata and status is in `unknown`."""

    OPEN: ClassVar[bool] = True
    status: Json = None


def custom_class(api_version: str, kind: str) -> type[Object]:
    """Make a class of its own for the objects of a custom kind, so that clients can tell kinds by class."""
    fields = [("api_version", str, always(api_version)), ("kind", str, always(kind))]
    return dataclasses.make_dataclass(
        kind,
        fields,
        bases=(CustomResource,),
        namespace={"__module__": __name__, "__doc__": f"An object of the custom kind {kind}."},
        frozen=True,
        slots=True,
        kw_only=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unstructured(Object):
    """An object of a kind netpod has no type for; everything is in `unknown`."""

    data: Json = None
