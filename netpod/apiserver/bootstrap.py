"""Objects every cluster has, made at start where they are missing.

Source: pkg/controlplane/controller (systemnamespaces, kubernetesservice); kubeadm's defaults.
"""

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from netpod.api import codec, registry, structs, validate_policy
from netpod.api.core import (
    ConfigMap,
    EndpointAddress,
    Endpoints,
    EndpointsPort,
    EndpointSubset,
    Namespace,
    ServiceAccount,
)
from netpod.api.discovery import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from netpod.api.meta import Object, ObjectMeta
from netpod.api.policy import PriorityClass
from netpod.api.service import Service, ServicePort, ServiceSpec
from netpod.apiserver import objects, rbac_components, rbac_controllers, rbac_policy
from netpod.apiserver.writes import Writer
from netpod.ip import Address, Network, family_of
from netpod.store.store import KeyValue

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
NAME = "kubernetes"
PORT_NAME = "https"
_REQUEST_HEADERS = {
    "requestheader-allowed-names": '["front-proxy-client"]',
    "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
    "requestheader-group-headers": '["X-Remote-Group"]',
    "requestheader-username-headers": '["X-Remote-User"]',
}
_ROLES = (rbac_policy, rbac_components, rbac_controllers)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """Where the API server can be reached from inside the cluster."""

    address: Address
    port: int = 6443
    service_port: int = 443


async def ensure(
    writer: Writer,
    services: Sequence[Network],
    control_plane: ControlPlane,
    client_ca: str = "",
    front_proxy_ca: str = "",
) -> None:
    """Make what is missing and correct where `default/kubernetes` leads; repeating it changes nothing.

    Args:
        writer: Writes it.
        services: Networks of the Services.
        control_plane: Where the API server is.
        client_ca: Certificate of who signs client certificates, PEM; published for components that are asked
            by such clients themselves.
        front_proxy_ca: Of who signs the certificates of proxies that say for whom they ask, PEM.
    """
    # Together, so that the store writes each group with one fsync.
    async with asyncio.TaskGroup() as tasks:
        for name in NAMESPACES:
            tasks.create_task(_create(writer, Namespace(metadata=ObjectMeta(name=name))))
    async with asyncio.TaskGroup() as tasks:
        for name in NAMESPACES:
            account = ServiceAccount(metadata=ObjectMeta(name="default", namespace=name))
            tasks.create_task(_create(writer, account))
        tasks.create_task(_create(writer, service(services[0], control_plane)))
        tasks.create_task(_put(writer, endpoints(control_plane)))
        tasks.create_task(_put(writer, endpoint_slice(control_plane)))
        if client_ca:
            tasks.create_task(_put(writer, authentication(client_ca, front_proxy_ca)))
        for role, kv in await _roles(writer):
            tasks.create_task(_reconcile(writer, role, kv))
        for priority in priority_classes():
            tasks.create_task(_create(writer, priority))


def priority_classes() -> tuple[PriorityClass, ...]:
    """The system's own priorities."""
    said = "Used for system critical pods that must "
    return (
        PriorityClass(
            metadata=ObjectMeta(name="system-cluster-critical"),
            value=validate_policy.SYSTEM_PRIORITIES["system-cluster-critical"],
            description=f"{said}run in the cluster, but can be moved to another node if necessary.",
        ),
        PriorityClass(
            metadata=ObjectMeta(name="system-node-critical"),
            value=validate_policy.SYSTEM_PRIORITIES["system-node-critical"],
            description=f"{said}not be moved from their current node.",
        ),
    )


def service(services: Network, control_plane: ControlPlane) -> Service:
    """default/kubernetes: the first address of the primary Service CIDR, and of that family alone, as upstream."""
    address = str(services[1])
    labels = {"component": "apiserver", "provider": "kubernetes"}
    port = ServicePort(
        name=PORT_NAME,
        port=control_plane.service_port,
        target_port=control_plane.port,
        protocol="TCP",
    )
    return Service(
        metadata=ObjectMeta(name=NAME, namespace="default", labels=labels),
        spec=ServiceSpec(
            type="ClusterIP", cluster_ip=address, cluster_ips=(address,), ports=(port,)
        ),
    )


def authentication(client_ca: str, front_proxy_ca: str) -> ConfigMap:
    """How a scheduler or controller manager verifies who asks it.

    Source: pkg/controlplane/controller/clusterauthenticationtrust; kubeadm's flags of the API server.
    """
    about = ObjectMeta(name="extension-apiserver-authentication", namespace="kube-system")
    data = {"client-ca-file": client_ca}
    if front_proxy_ca:
        data |= {"requestheader-client-ca-file": front_proxy_ca, **_REQUEST_HEADERS}
    return ConfigMap(metadata=about, data=data)


def endpoints(control_plane: ControlPlane) -> Endpoints:
    """Its Endpoints; we write the slice ourselves, so nobody should mirror them."""
    subset = EndpointSubset(
        addresses=(EndpointAddress(ip=str(control_plane.address)),),
        ports=(EndpointsPort(name=PORT_NAME, port=control_plane.port, protocol="TCP"),),
    )
    labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    return Endpoints(
        metadata=ObjectMeta(name=NAME, namespace="default", labels=labels), subsets=(subset,)
    )


def endpoint_slice(control_plane: ControlPlane) -> EndpointSlice:
    """Its EndpointSlice."""
    return EndpointSlice(
        metadata=ObjectMeta(
            name=NAME, namespace="default", labels={"kubernetes.io/service-name": NAME}
        ),
        address_type=family_of(control_plane.address),
        endpoints=(
            Endpoint(
                addresses=(str(control_plane.address),), conditions=EndpointConditions(ready=True)
            ),
        ),
        ports=(EndpointPort(name=PORT_NAME, port=control_plane.port, protocol="TCP"),),
    )


async def _create(writer: Writer, obj: Object) -> None:
    resource = registry.of(type(obj))
    metadata = obj.metadata
    if await writer.storage.find(resource, metadata.namespace, metadata.name) is None:
        await writer.create(resource, obj)


async def _roles(writer: Writer) -> list[tuple[Object, KeyValue | None]]:
    """The default roles and bindings, each with what is stored of it; read kind by kind, since they are many."""
    wanted = [obj for each in _ROLES for obj in each.objects()]
    resources = {type(obj): registry.of(type(obj)) for obj in wanted}
    stored: dict[str, KeyValue] = {}
    for resource in resources.values():
        stored |= {kv.key: kv for kv in (await writer.storage.list(resource)).items}
    return [
        (obj, stored.get(objects.key(resources[type(obj)], about.namespace, about.name)))
        for obj in wanted
        for about in (obj.metadata,)
    ]


async def _reconcile(writer: Writer, wanted: Object, kv: KeyValue | None) -> None:
    """Make a default role or binding, or give back what it lacks; unless its autoupdate annotation was changed.

    Source: plugin/pkg/auth/authorizer/rbac/bootstrappolicy, pkg/registry/rbac/reconciliation.
    """
    resource = registry.of(type(wanted))
    if kv is None:
        await writer.create(resource, wanted)
        return
    plain = objects.parsed(kv)
    if plain["metadata"].get("annotations", {}).get(rbac_policy.AUTOUPDATE) != "true":
        return
    if plain.get("aggregationRule") is not None:
        return
    field = "rules" if hasattr(wanted, "rules") else "subjects"
    # Nearly always all is there; plain values say so without making the object.
    if all(it in plain.get(field, ()) for it in codec.encode(wanted).get(field, ())):
        return
    found = objects.unpack(resource, kv)
    has = getattr(found, field)
    lacks = tuple(it for it in getattr(wanted, field) if it not in has)
    if lacks:
        await writer.replace(resource, kv, structs.replace(found, **{field: (*has, *lacks)}))


async def _put(writer: Writer, obj: ConfigMap | Endpoints | EndpointSlice) -> None:
    resource = registry.of(type(obj))
    metadata = obj.metadata
    kv = await writer.storage.find(resource, metadata.namespace, metadata.name)
    if kv is None:
        await writer.create(resource, obj)
        return
    kept = objects.unpack(resource, kv).metadata
    await writer.replace(resource, kv, dataclasses.replace(obj, metadata=kept))
