"""A pod's sandbox with all that belongs to it: namespaces, network, files for /etc, hostPorts.

Order: files, namespaces, network; taken away in the opposite order. Each step repeats harmlessly, so a sandbox that an
earlier kubelet left half-made is finished by `ensure`, and `delete` works on any part of one.
"""

import asyncio
import ipaddress
import logging
import secrets
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

from netpod.api.cri import Container, Sandbox, SandboxConfig
from netpod.api.meta import Key, key_of
from netpod.api.pod import Pod
from netpod.cni import network, portmap
from netpod.cni.network import NetworkConfig, PodNetwork
from netpod.cni.portmap import PortMapping
from netpod.errors import KernelError, NetpodError, Unavailable
from netpod.ip import Address, Interface
from netpod.kubelet import gonelogs, resolvconf, sysctls
from netpod.kubelet.config import KubeletConfig
from netpod.kubelet.runtime import Runtime
from netpod.linux import netns as namespaces

log = logging.getLogger(__name__)
T = TypeVar("T")
NODE_RESOLV_CONF, NODE_HOSTS = Path("/etc/resolv.conf"), Path("/etc/hosts")


class Sandboxes:
    """Makes and takes away sandboxes of one node.

    Args:
        config: The node.
        runtime: The shim.
        worker: One thread, in which everything that enters namespaces happens.
    """

    def __init__(self, config: KubeletConfig, runtime: Runtime, worker: Executor) -> None:
        self._config = config
        self._runtime = runtime
        self._worker = worker
        self._network: NetworkConfig | None = None
        self._leaving: list[tuple[PodNetwork, asyncio.Future[None]]] = []
        self._disconnecting = asyncio.Lock()
        self._mappings: dict[str, list[PortMapping]] = {}
        self._promised: dict[str, PodNetwork] = {}

    def use(self, network_config: NetworkConfig) -> None:
        """From now on pods can have a network."""
        self._network = network_config

    @property
    def networked(self) -> bool:
        """Whether pods can have a network."""
        return self._network is not None

    def keep_addresses(self, pods: Iterable[Pod]) -> None:
        """Keep for every pod the address the API server says it has, before anybody else is given one.

        After a reboot of the machine the reservations are gone; the pods are to be what they were.
        """
        for pod in pods:
            about, had = pod.metadata, [it.ip for it in pod.status.pod_ips]
            if pod.spec.host_network or not had or pod.status.phase in ("Succeeded", "Failed"):
                continue
            netns = self._config.paths.netns_pod(self._config.node, about.namespace, about.name)
            mine = PodNetwork(key=key_of(pod), uid=about.uid, netns=netns)
            if network.promise(self._config_of(), mine, had):
                self._promised[about.uid] = mine

    async def create(self, pod: Pod, attempt: int) -> Sandbox:
        """Make the namespaces, without network."""
        meta = pod.metadata
        paths = self._config.paths
        netns = paths.netns_pod(self._config.node, meta.namespace, meta.name)
        if pod.spec.host_network:
            # On a machine of its own the node has no name, and the shim stands in its namespace.
            own = paths.netns_node(self._config.node)
            netns = own if namespaces.exists(own) else ""
        etc = self._etc(meta.uid)
        node = resolvconf.parse(_read(NODE_RESOLV_CONF))
        dns = [str(address) for address in self._config.cluster_dns]
        text = resolvconf.resolv_conf(pod, dns, self._config.cluster_domain, node)
        _write(etc / "resolv.conf", text)
        try:
            name = resolvconf.kernel_name(pod, self._config.cluster_domain, self._config.node)
        except ValueError as error:
            raise KernelError(str(error)) from error
        _write(etc / "hostname", f"{name}\n")
        if pod.spec.host_network:
            _write(etc / "hosts", resolvconf.node_hosts(pod, _read(NODE_HOSTS)))
        return await self._runtime.run_sandbox(
            SandboxConfig(
                id=secrets.token_hex(32),
                namespace=meta.namespace,
                name=meta.name,
                uid=meta.uid,
                attempt=attempt,
                hostname=name,
                netns=netns,
                host_network=pod.spec.host_network,
                share_pid=bool(pod.spec.share_process_namespace),
                etc=str(etc),
                sysctls=sysctls.wanted(pod),
            )
        )

    async def connect(self, pod: Pod, sandbox: Sandbox) -> tuple[str, ...]:
        """Give a sandbox its network, or check that it has it; return the pod's addresses, the primary first.

        Raises:
            KernelError: the network could not be made.
            Exhausted: the node has no address left.
        """
        if sandbox.config.host_network:
            return self._config.host_ips
        assert self._network is not None, "pods wait until the node has a network"
        result = await self.in_worker(lambda: network.add(self._config_of(), _network_of(sandbox)))
        self._promised.pop(pod.metadata.uid, None)
        pod_ips = tuple(str(it.ip) for it in result.pod_ips)
        text = resolvconf.hosts(pod, pod_ips, self._config.cluster_domain)
        _write(self._etc(pod.metadata.uid) / "hosts", text)
        mappings = _mappings(pod, _network_of(sandbox).owner, result.pod_ips)
        if mappings != self._mappings.get(pod.metadata.uid, []):
            self._mappings[pod.metadata.uid] = mappings
            await self._publish()
        return pod_ips

    async def delete(self, sandbox: Sandbox) -> list[Container]:
        """Take a sandbox away with everything in it; return how its containers ended."""
        config = sandbox.config
        if self._mappings.pop(config.uid, []):
            await self._publish()
        if not config.host_network and self._network is not None:
            await self._disconnect(_network_of(sandbox))
        return await self._runtime.stop_sandbox(config.id)

    async def _disconnect(self, pod: PodNetwork) -> None:
        """Take a pod's network away, together with those of all pods that wait for the same."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._leaving.append((pod, done))
        async with self._disconnecting:
            batch, self._leaving = self._leaving, []
            if batch:  # else somebody before us took ours along
                await self._disconnect_all(batch)
        await done

    async def _disconnect_all(self, batch: list[tuple[PodNetwork, asyncio.Future[None]]]) -> None:
        pods = [pod for pod, _ in batch]
        failure: Exception | None = Unavailable("cannot disconnect pods: interrupted")
        try:
            await self.in_worker(lambda: network.delete_all(self._config_of(), pods))
            failure = None
        except NetpodError as error:
            failure = error
        finally:
            for _, done in batch:
                if done.done():
                    continue
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(failure)
                    done.exception()

    def forget(self, pod: Key, uid: str) -> None:
        """Remove the pod's files; its logs are kept for a while."""
        if (promised := self._promised.pop(uid, None)) is not None:
            network.release(self._config_of(), promised)
        gonelogs.keep(self._config.paths, pod, uid)
        shutil.rmtree(self._etc(uid), ignore_errors=True)
        shutil.rmtree(self.files(uid), ignore_errors=True)

    def files(self, uid: str) -> Path:
        """Directory of what a pod has beside its sandbox, its volumes; `forget` removes it."""
        return self._config.paths.node(self._config.node) / "pods" / uid

    async def in_worker(self, function: Callable[[], T]) -> T:
        """Run something that blocks in the node's worker thread."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, function)

    async def _publish(self) -> None:
        everything = [mapping for mappings in self._mappings.values() for mapping in mappings]
        families, legacy = self._config.families, self._config.iptables_legacy
        try:
            await self.in_worker(
                lambda: portmap.apply("", everything, families=families, legacy=legacy)
            )
        except NetpodError as error:
            log.warning("cannot publish hostPorts: %s", error)

    def _config_of(self) -> NetworkConfig:
        assert self._network is not None, "pods wait until the node has a network"
        return self._network

    def _etc(self, uid: str) -> Path:
        return self._config.paths.node(self._config.node) / "etc" / uid


def _network_of(sandbox: Sandbox) -> PodNetwork:
    config = sandbox.config
    return PodNetwork(
        key=Key(config.namespace, config.name),
        uid=config.uid,
        netns=config.netns,
        hostname=config.hostname,
    )


def _mappings(pod: Pod, owner: str, pod_ips: Sequence[Interface]) -> list[PortMapping]:
    return [
        PortMapping(
            owner=owner,
            pod_ip=pod_ip,
            host_port=port.host_port,
            container_port=port.container_port,
            protocol=(port.protocol or "TCP").lower(),
            host_ip=host_ip,
        )
        for container in pod.spec.containers
        for port in container.ports
        if port.host_port
        for host_ip in (_address(port.host_ip),)
        for pod_ip in pod_ips
        if host_ip is None or host_ip.version == pod_ip.version
    ]


def _address(text: str) -> Address | None:
    """Address a hostPort is served on; all of the node's for what is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return None if address.is_unspecified else address


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        # In place: a program that `exec` runs has the file itself mounted.
        path.write_text(text)
    except OSError as error:
        raise KernelError(f"cannot write {path}", errno=error.errno or 0) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
