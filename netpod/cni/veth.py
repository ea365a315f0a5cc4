"""The wire of one pod: eth0 in the pod's namespace, a veth on the node's bridge.

Everything is done in two hand-overs to the kernel, one socket on each side: what a pod costs is what the kernel takes.

Source: CNI plugins/main/bridge/bridge.go (setupVeth, hairpin) and pkg/ip/link_linux.go.
"""

import contextlib
import errno
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from netpod.errors import KernelError
from netpod.ip import Address, Interface, family_of
from netpod.linux import link, linkgroup, netlink, route, sysctl
from netpod.linux import netns as namespaces

POD_LINK = "eth0"

# The kernel makes one link at a time anyway; threads that wait for it here sleep, those that wait there spin.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """What joins a pod to its node.

    Attributes:
        netns: The node's network namespace; "" is this process's own.
        bridge: The node's bridge.
        link: The node's end.
        pod_netns: The pod's network namespace.
        pod_ips: The pod's addresses on eth0.
        gateways: The bridge's addresses, the pod's default routes, in the same order.
        mtu: Of both ends, in bytes.
    """

    netns: str
    bridge: str
    link: str
    pod_netns: str
    pod_ips: tuple[Interface, ...]
    gateways: tuple[Address, ...]
    mtu: int

    @property
    def mac(self) -> str:
        """eth0's MAC address, which follows from the pod's first."""
        return link.mac_of(self.pod_ips[0].ip)


def add(wire: Wire) -> None:
    """Join pod and node; a wire that is there already and right is left alone, any other is made anew.

    Raises:
        KernelError: ENOENT, a namespace is missing; ENODEV, the bridge is.
    """
    try:
        _make(wire)
    except KernelError as error:
        if error.errno != errno.EEXIST:
            raise
        if not observe_problems(wire):
            return
        link.delete_link(wire.netns, wire.link)
        link.delete_link(wire.pod_netns, POD_LINK)
        _make(wire)


def delete(netns: str, name: str) -> None:
    """Take the wire away, both ends; absent, or its node gone: nothing to do."""
    try:
        link.delete_link(netns, name)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise


def delete_all(netns: str, names: Sequence[str]) -> None:
    """Take several wires away at once, for little more than one costs; absent, or the node gone: nothing to do."""
    try:
        with _one_at_a_time:
            linkgroup.delete(netns, names)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise


def observe_problems(wire: Wire) -> list[str]:
    """What is not as `add` makes it, one sentence each; empty when all is well."""
    try:
        return [*_node_problems(wire), *_pod_problems(wire)]
    except KernelError as error:
        return [str(error)]


def _make(wire: Wire) -> None:
    def open_pod_side() -> netlink.Socket:
        # Before the first link comes up: IPv6 would announce itself on it at once.
        if any(it.version == 6 for it in wire.pod_ips):
            sysctl.write_here(sysctl.IPV6, wire.pod_netns)
        else:
            with contextlib.suppress(KernelError):
                sysctl.write_here(sysctl.NO_IPV6, wire.pod_netns)
        return netlink.Socket(label=wire.pod_netns)

    fd = namespaces.open_fd(wire.pod_netns)
    try:
        with (
            _one_at_a_time,
            namespaces.call_in(wire.pod_netns, open_pod_side) as pod_side,
            netlink.Socket(wire.netns) as node_side,
        ):
            master = node_side.index(wire.bridge)
            if not master:
                raise KernelError(
                    f"cannot find link {wire.bridge}", errno=errno.ENODEV, netns=wire.netns
                )
            node_side.send(
                [
                    link.veth_message(
                        link.End(name=wire.link),
                        link.End(name=POD_LINK, mac=wire.mac),
                        far_netns_fd=fd,
                        mtu=wire.mtu,
                        master=master,
                    ),
                    link.hairpin_message(wire.link),
                ]
            )
            index = pod_side.index(POD_LINK)
            pod_side.send(
                [
                    link.set_message(index=link.LOOPBACK, up=True),
                    link.set_message(index=index, up=True),
                    *(link.address_message(index, it) for it in wire.pod_ips),
                    *(route.route_message(route.default_of(it), via=it) for it in wire.gateways),
                ]
            )
    finally:
        os.close(fd)


def _node_problems(wire: Wire) -> list[str]:
    near = link.observe_link(wire.netns, wire.link)
    if near is None:
        return [f"link {wire.link} is missing on the node"]
    master = link.observe_link(wire.netns, wire.bridge)
    found = []
    if not near.up:
        found.append(f"link {wire.link} is down")
    if master is None or near.master != master.index:
        found.append(f"link {wire.link} is not a port of {wire.bridge}")
    if not near.hairpin:
        found.append(f"link {wire.link} has no hairpin mode")
    far = link.observe_link(wire.pod_netns, POD_LINK)
    if far is not None and (far.peer, near.peer) != (near.index, far.index):
        found.append(f"link {wire.link} is not the other end of the pod's {POD_LINK}")
    return found


def _pod_problems(wire: Wire) -> list[str]:
    far = link.observe_link(wire.pod_netns, POD_LINK)
    if far is None:
        return [f"link {POD_LINK} is missing in the pod"]
    found = []
    if not far.up:
        found.append(f"link {POD_LINK} is down in the pod")
    if far.mac != wire.mac:
        found.append(f"link {POD_LINK} has MAC address {far.mac}, not {wire.mac}")
    present = link.observe_addresses(wire.pod_netns, POD_LINK)
    found += [
        f"link {POD_LINK} has not the address {it}" for it in wire.pod_ips if it not in present
    ]
    for gateway in wire.gateways:
        routes = route.observe(wire.pod_netns, family=family_of(gateway))
        defaults = [it.gateway for it in routes if it.destination == route.default_of(gateway)]
        if defaults != [gateway]:
            found.append(f"the pod has no default route via {gateway}")
    return found
