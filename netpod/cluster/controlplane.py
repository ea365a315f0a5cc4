"""What the control plane does once it is forked: the place where its components are put together."""

import asyncio
import logging
import socket
from collections.abc import Mapping
from ipaddress import ip_address

import uvloop

from netpod.api.meta import Object
from netpod.apiserver import admission
from netpod.apiserver.bootstrap import ControlPlane
from netpod.apiserver.dialer import Dialer
from netpod.apiserver.server import ApiServer, ApiServerConfig, Listener
from netpod.apiserver.signing import Signer
from netpod.apiserver.stores import open_store
from netpod.client.informer import Informers
from netpod.client.rest import Client
from netpod.cloud import run as cloud
from netpod.cloud.run import CloudConfig
from netpod.cluster import (
    addons,
    attach,
    dashboard,
    forwarder,
    guard,
    identities,
    keys,
    launch,
    marking,
    monitoring,
    renewal,
    underlay,
    without,
)
from netpod.cluster.config import ClusterConfig
from netpod.cluster.monitoring import Component
from netpod.cluster.role import Role
from netpod.controllers import metrics as controlled
from netpod.controllers import nodelifecycle
from netpod.controllers import run as controllers
from netpod.controllers.run import ControllersConfig
from netpod.dns import relay
from netpod.errors import AlreadyExists, ApiError, NetpodError, NotFound
from netpod.ip import Address, family_of, host_port
from netpod.linux import netns
from netpod.proxy.config import Variant
from netpod.scheduler import metrics as scheduled
from netpod.scheduler import scheduler

log = logging.getLogger(__name__)
API_PORT = 6443


def main(config: ClusterConfig, role: Role) -> None:
    """Run the control plane in this process until it is ended. Never comes back but by an error."""
    assert role.kind == "controlplane", "nodes have their own module"
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_control_plane(config))


async def _control_plane(config: ClusterConfig) -> None:
    """API server, controllers, scheduler and cloud; they meet at the API server only."""
    paths = config.paths
    ready = asyncio.Event()
    store = await open_store(paths.database, config.store_config)
    client = Client.unix(paths.api_socket)
    names = without.CONTROLLERS, without.SCHEDULER, identities.CLOUD
    clients = [Client.unix(paths.socket_of(name)) for name in names]
    controlling, scheduling, providing = clients
    try:
        contexts = renewal.Contexts(paths.pki)
        listeners = [*identities.listen(config), *_remote(config, contexts)]
        running: dict[str, asyncio.Task[None]] = {}
        server = ApiServer(store, _api_config(config, contexts, running))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(listeners, ready), name="apiserver")
            await ready.wait()
            tasks.create_task(_addons(client, config), name="addons")
            # One watch per kind serves both: they are one process here, and meet at the API server only.
            informers = Informers(controlling)
            tasks.create_task(informers.run(), name="informers")
            controls, schedules = controlled.Metrics(), scheduled.Metrics(scheduler.NAME)
            left_out = without.parse(config.without)
            told: list[Component] = []
            if without.CONTROLLERS not in left_out:
                controlled_by = tasks.create_task(
                    controllers.run(controlling, _controllers_config(config), informers, controls),
                    name="controllers",
                )
                running["controller-manager"] = controlled_by
                told.append(
                    Component(
                        port=monitoring.CONTROLLER_MANAGER_PORT,
                        client=controlling,
                        families=controls.families,
                        running=lambda: not controlled_by.done(),
                    )
                )
            if without.SCHEDULER not in left_out:
                scheduled_by = tasks.create_task(
                    scheduler.run(scheduling, informers, schedules), name="scheduler"
                )
                running["scheduler"] = scheduled_by
                told.append(
                    Component(
                        port=monitoring.SCHEDULER_PORT,
                        client=scheduling,
                        families=schedules.families,
                        running=lambda: not scheduled_by.done(),
                    )
                )
            tasks.create_task(
                monitoring.run(
                    told,
                    lambda port: _inside(config, port),
                    lambda: contexts.keep(keys.server_context(config), keys.API_SERVER),
                ),
                name="monitoring",
            )
            tasks.create_task(
                cloud.run(
                    providing,
                    CloudConfig(
                        vip_cidrs=config.lb_networks,
                        edge_netns=paths.netns_edge,
                        legacy=config.variant is Variant.LEGACY,
                    ),
                ),
                name="cloud",
            )
            tasks.create_task(identities.follow(config, server), name="identities")
            control_plane = config.nodes[0].name
            tasks.create_task(marking.run(client, informers, control_plane), name="marking")
            tasks.create_task(guard.run(config), name="guard")
            tasks.create_task(renewal.run(config), name="renewal")
            tasks.create_task(contexts.run(), name="certificates")
            tasks.create_task(forwarder.run(config, informers), name="forwarder")
            tasks.create_task(dashboard.run(config), name="dashboard")
            if config.attach:
                tasks.create_task(attach.follow(config, informers), name="attach")
            if config.dns_forward:
                tasks.create_task(relay.run(paths.run / addons.DNS_RELAY), name="dns relay")
    finally:
        for each in (client, *clients):
            await each.close()
        await store.close()


def _api_config(
    config: ClusterConfig, contexts: renewal.Contexts, running: Mapping[str, asyncio.Task[None]]
) -> ApiServerConfig:
    first, last = config.node_ports
    # Kubelets, pods and Services are reached from the control plane's node, as if the API server stood there.
    node = config.paths.netns_node(config.nodes[0].name)
    return ApiServerConfig(
        service_cidrs=config.service_networks,
        node_ports=range(first, last + 1),
        control_plane=ControlPlane(address=config.control_plane_ip, port=API_PORT),
        pki=config.paths.pki,
        audit_log=config.paths.logs / "audit.log" if config.audit_log else None,
        toleration_seconds=round(admission.TOLERATION_SECONDS * config.patience),
        running=lambda: {name: not task.done() for name, task in running.items()},
        dialer=Dialer(
            open_socket=lambda family: netns.socket_in(node, family.af, socket.SOCK_STREAM),
            kubelet_tls=lambda: contexts.keep(
                keys.kubelet_client_context(config), keys.KUBELET_CLIENT
            ),
        ),
    )


def _controllers_config(config: ClusterConfig) -> ControllersConfig:
    return ControllersConfig(
        pod_cidrs=tuple((it, config.node_prefixes[family_of(it)]) for it in config.pod_networks),
        nodes=nodelifecycle.Periods(
            monitor=5.0 * config.patience,
            grace=config.node_monitor_grace_seconds * config.patience,
            startup_grace=60.0 * config.patience,
            eviction=config.patience,
        ),
        pod_gc_quarantine=40.0 * config.patience,
        root_ca=(config.paths.pki / "ca.crt").read_text(),
        volumes=config.paths.volumes,
        sign=Signer(config.paths.pki).sign,
        certify=lambda request: keys.certify(config, request),
    )


def _remote(config: ClusterConfig, contexts: renewal.Contexts) -> list[Listener]:
    """Listen for kubectl on 127.0.0.1, and for pods on the control plane node's address."""
    host = _listening("", ip_address("127.0.0.1"), config.api_port)
    launch.wait_made(config)
    underlay.ensure(config)
    tls = contexts.keep(keys.server_context(config), keys.API_SERVER)
    inside = _inside(config, API_PORT)
    return [Listener(socket=host, tls=tls), Listener(socket=inside, tls=tls)]


def _inside(config: ClusterConfig, port: int) -> socket.socket:
    """Listen on the control plane node's address."""
    node = config.paths.netns_node(config.nodes[0].name)
    return _listening(node, config.control_plane_ip, port)


def _listening(name: str, address: Address, port: int) -> socket.socket:
    listening = netns.socket_in(name, family_of(address).af, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((str(address), port))
    except OSError as error:
        listening.close()
        raise NetpodError(
            f"cannot listen on {host_port(address, port)}: {error.strerror}"
        ) from error
    listening.listen(1024)
    return listening


async def _addons(client: Client, config: ClusterConfig) -> None:
    """Create the add-ons that are missing; what somebody changed stays changed."""
    for obj in addons.objects(config):
        await _create(client, obj)


async def _create(client: Client, obj: Object) -> None:
    """Create an object unless there is one of its name.

    Looked for first: a Service of a fixed address that is there would be refused for its address, not for its name.
    """
    name, namespace = obj.metadata.name, obj.metadata.namespace
    while True:
        try:
            await client.get(type(obj), name, namespace)
            return
        except NotFound:
            pass
        except ApiError as error:
            if not error.retryable:
                raise
        try:
            await client.create(obj)
            return
        except AlreadyExists:
            return
        except ApiError as error:
            if not error.retryable:
                raise
            await asyncio.sleep(0.1)
