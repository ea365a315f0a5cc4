"""kube-proxy's rules beside the policies, with one Service, in each mode."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address

from netpod.linux import nft, process
from netpod.proxy import model as services
from netpod.proxy import modes
from netpod.proxy.config import Mode
from tests.kernel.policy import lab
from tests.kernel.proxy import lab as proxies
from tests.unit.policy import builders
from tests.unit.proxy import builders as made

CLUSTER_IP, NODE_PORT = "10.96.45.12", 31080
TARGET = "y/a"
"""Serves TCP 80 as port 8000 of the Service; runs on node2."""

MODES = [mode for mode in Mode if mode is not Mode.IPVS]
"""Policies are nftables, and the guest that has ip_vs has no nf_tables for IP."""


@contextlib.contextmanager
def proxy(nodes: Mapping[str, str], mode: Mode) -> Iterator[None]:
    """Have kube-proxy's rules on the nodes, with a Service for TARGET; nothing is left of any rule afterwards."""
    web = made.service(ports=(made.port(8000, node_port=NODE_PORT),), type="NodePort")
    slice_ = made.endpoint_slice(
        [made.entry(builders.address_of(TARGET), builders.node_of(TARGET))],
        ports=(("", 80, "TCP"),),
    )
    for node, netns in nodes.items():
        config = dataclasses.replace(
            made.CONFIG,
            netns=netns,
            mode=mode,
            node_name=node,
            node_ip=IPv4Address(lab.NODE_IPS[node]),
        )
        world = services.build([web], [slice_], node)
        proxies.run(modes.make(config.mode, config).full_sync(world))
    yield
    for netns in nodes.values():
        nft.apply(netns, "flush ruleset\n")
        process.run(["conntrack", "-F"], netns=netns)
