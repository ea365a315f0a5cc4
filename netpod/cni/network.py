"""The CNI verbs for a pod: add, delete, check. Start reading here.

They block, for a millisecond or a few: call them from a worker thread. Each may be killed at any line and called
again. Before the first `add` of a process the caller makes the bridge with `prepare`.

Source: CNI specification 1.0.0, section 4 (ADD, DEL, CHECK).
"""

import contextlib
import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from netpod.api.meta import Key
from netpod.cni import bridge, ipam, veth
from netpod.errors import KernelError
from netpod.ip import Address, Interface, Network, interface_of
from netpod.linux import link


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """The pod network of one node.

    Attributes:
        pod_cidrs: The node's share of the cluster's pod addresses, one of each family, e.g. 10.244.1.0/24.
        state: Directory for the address reservations.
        netns: The node's network namespace; "" is the one this process runs in.
        bridge: Link that joins the node's pods.
        mtu: Of the bridge and every pod's link, in bytes.
    """

    pod_cidrs: tuple[Network, ...]
    state: Path
    netns: str = ""
    bridge: str = "cni0"
    mtu: int = 1500

    @property
    def reservations(self) -> Path:
        """Where the addresses of this network are reserved. Source: host-local's dataDir layout."""
        return self.state / "networks" / self.bridge


@dataclass(frozen=True, slots=True, kw_only=True)
class PodNetwork:
    """A pod as far as its network goes.

    Attributes:
        key: Namespace and name.
        uid: Tells it from an earlier pod of that name.
        netns: Its network namespace, which exists before `add` and after `delete`.
        hostname: What it is called inside; set by whoever makes its UTS namespace.
    """

    key: Key
    uid: str
    netns: str
    hostname: str = ""

    @property
    def owner(self) -> str:
        """Its name in the reservations."""
        return f"{self.key.namespace}/{self.key.name}/{self.uid}"

    @property
    def link(self) -> str:
        """Its link on the node, e.g. veth3f9c21a07be."""
        return link_of(self.owner)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What an `add` came to.

    Attributes:
        pod_ips: With their pod CIDR's prefix length, e.g. 10.244.1.7/24.
        gateways: The bridge's addresses, in the same order.
        mac: Of the pod's eth0.
        link: The node's end of the wire.
    """

    pod_ips: tuple[Interface, ...]
    gateways: tuple[Address, ...]
    mac: str
    link: str

    @property
    def pod_ip(self) -> Interface:
        """The pod's first address."""
        return self.pod_ips[0]


def prepare(config: NetworkConfig) -> None:
    """Make or correct the node's bridge and its kernel settings; see `bridge.ensure_bridge`."""
    bridge.ensure_bridge(config.netns, config.bridge, config.pod_cidrs, mtu=config.mtu)


def add(config: NetworkConfig, pod: PodNetwork) -> Result:
    """Give a pod its addresses and its wire; repeating it gives the same ones and touches nothing.

    Raises:
        Exhausted: every address of a pod CIDR is reserved.
        KernelError: the wire could not be made; an address reserved by this call is given back.
    """
    reserved = ipam.allocate(config.reservations, config.pod_cidrs, pod.owner)
    wire = _wire(config, pod, reserved.pod_ips)
    try:
        try:
            veth.add(wire)
        except KernelError as error:
            if error.errno != errno.ENODEV:
                raise
            # The bridge was never made, or somebody deleted it.
            prepare(config)
            veth.add(wire)
    except BaseException:
        if reserved.fresh:
            with contextlib.suppress(KernelError):
                veth.delete(config.netns, pod.link)
            ipam.release(config.reservations, pod.owner)
        raise
    return Result(pod_ips=wire.pod_ips, gateways=wire.gateways, mac=wire.mac, link=pod.link)


def promise(config: NetworkConfig, pod: PodNetwork, pod_ips: Iterable[str]) -> bool:
    """Keep addresses for a pod that had them before all reservations were lost; `add` gives them, `release` does not.

    Returns:
        Whether there is a promise now that only `add` or `release` ends; not when the pod has its address already.
    """
    return ipam.reserve(config.reservations, pod.owner, pod_ips)


def release(config: NetworkConfig, pod: PodNetwork) -> None:
    """Give the addresses of a pod back that was never added."""
    ipam.release(config.reservations, pod.owner)


def delete(config: NetworkConfig, pod: PodNetwork) -> None:
    """Take a pod's wire and address away; what is absent already is well. The namespace is its maker's to delete."""
    delete_all(config, [pod])


def delete_all(config: NetworkConfig, pods: Sequence[PodNetwork]) -> None:
    """`delete` for several pods at once, for little more than one costs."""
    veth.delete_all(config.netns, [pod.link for pod in pods])
    # Last: nobody else may get the address while the wire still carries it.
    for pod in pods:
        ipam.release(config.reservations, pod.owner)


def collect_garbage(config: NetworkConfig, pods: Iterable[PodNetwork]) -> list[str]:
    """Delete what no pod of these has: wires and addresses of pods that went while nobody looked.

    Args:
        config: The node's pod network.
        pods: Every pod that shall keep its network; no `add` for another may run meanwhile.

    Returns:
        Owners ("namespace/name/uid") whose address was given back.

    Source: CNI specification 1.1.0, GC.
    """
    kept = {pod.owner for pod in pods}
    gone = sorted(set(ipam.observe(config.reservations).values()) - kept)
    for owner in gone:
        veth.delete(config.netns, link_of(owner))
        ipam.release(config.reservations, owner)
    return gone


def check(config: NetworkConfig, pod: PodNetwork) -> list[str]:
    """What is not as `add` left it, one sentence each; empty when all is well."""
    held = ipam.find(config.reservations, pod.owner)
    pod_ips = tuple(
        interface_of(address, pod_cidr.prefixlen)
        for pod_cidr in config.pod_cidrs
        for address in held
        if address in pod_cidr
    )
    if len(pod_ips) < len(config.pod_cidrs):
        return ["no address is reserved"]
    return veth.observe_problems(_wire(config, pod, pod_ips))


def link_of(owner: str) -> str:
    """Link on the node of the pod "namespace/name/uid"."""
    return link.short_name("veth", owner)


def _wire(config: NetworkConfig, pod: PodNetwork, pod_ips: tuple[Interface, ...]) -> veth.Wire:
    return veth.Wire(
        netns=config.netns,
        bridge=config.bridge,
        link=pod.link,
        pod_netns=pod.netns,
        pod_ips=pod_ips,
        gateways=tuple(bridge.gateway(it).ip for it in config.pod_cidrs),
        mtu=config.mtu,
    )
