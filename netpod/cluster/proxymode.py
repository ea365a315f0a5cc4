"""Change the proxy mode of a running cluster, or of one node, and see that it happened."""

import time
from collections.abc import Iterable, Mapping

from netpod.client.blocking import MERGE_PATCH, BlockingClient
from netpod.cluster.config import ClusterConfig, NodeConfig
from netpod.cluster.ready import wait_a_little
from netpod.errors import NetpodError, NotFound, Unsupported
from netpod.ip import by_family, of_family
from netpod.linux import nftread
from netpod.proxy import configmap, nftables_names, owners, variants
from netpod.proxy.config import Mode, ProxyConfig
from netpod.proxy.ipvs_config import IpvsConfig, scheduler_of

_COLLECTION = f"/api/v1/namespaces/{configmap.NAMESPACE}/configmaps"
_PATH = f"{_COLLECTION}/{configmap.NAME}"


def proxy_config(config: ClusterConfig, node: NodeConfig, netns: str = "") -> ProxyConfig:
    """What a node's proxy is told at start: the primary family's settings, with the other's in them."""
    found: ProxyConfig | None = None
    for family in reversed(config.families):
        found = ProxyConfig(
            cluster=config.name,
            node_name=node.name,
            node_ip=by_family(node.node_ips)[family],
            cluster_cidr=by_family(config.pod_networks)[family],
            service_cidrs=of_family(config.service_networks, family),
            mode=Mode(config.proxy_mode),
            iptables_variant=config.variant,
            ipvs=IpvsConfig(scheduler=scheduler_of(config.ipvs_scheduler)),
            netns=netns,
            secondary=found,
        )
    assert found is not None, "a cluster has an address family"
    return found


def choose(client: BlockingClient, mode: Mode, node: str = "") -> None:
    """Write the mode for all nodes, or for one, into the ConfigMap; made anew if somebody deleted it."""
    try:
        data = client.request("GET", _PATH).get("data") or {}
    except NotFound:
        meta = {"name": configmap.NAME, "namespace": configmap.NAMESPACE}
        client.request("POST", _COLLECTION, body={"metadata": meta, "data": {}})
        data = {}
    body = {"data": configmap.changed(data, mode, node)}
    client.request("PATCH", _PATH, body=body, content_type=MERGE_PATCH)


def data(client: BlockingClient) -> dict[str, str]:
    """What the ConfigMap says; nothing when there is none."""
    try:
        found = client.request("GET", _PATH).get("data") or {}
    except NotFound:
        return {}
    return {str(key): str(value) for key, value in found.items()}


def restore(client: BlockingClient, before: Mapping[str, str]) -> None:
    """Make the ConfigMap say again what it said."""
    now = data(client)
    if now != dict(before):
        body = {"data": {**dict.fromkeys(now), **before}}
        client.request("PATCH", _PATH, body=body, content_type=MERGE_PATCH)


def wait(config: ClusterConfig, nodes: Iterable[str], mode: Mode, *, timeout: float) -> None:
    """Wait until these nodes have the rules of this mode and of no other.

    Raises:
        NetpodError: a node has not changed within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    for node in nodes:
        while (found := observe(config, node)) != {mode}:
            if time.monotonic() > deadline:
                now = ", ".join(sorted(found)) or "no mode"
                raise NetpodError(
                    f"cannot change node {node} to {mode}: it has the rules of {now} after {timeout:g} s; "
                    f"look at {config.paths.logs}"
                )
            wait_a_little()


def observe(config: ClusterConfig, node: str) -> set[Mode]:
    """The modes that have rules of any family in a node's kernel; two of them only while it changes.

    Virtual servers of IPVS that only wait for their connections to end are not counted.
    """
    netns = config.paths.netns_node(node)
    found = set()
    for family in config.families:
        try:
            observed = variants.observe(config.variant, netns, family=family)
        except Unsupported:
            observed = {}  # the program is not installed, so it has no rules
        for mode in (Mode.IPTABLES, Mode.IPVS):
            if any(owners.tells(mode, t, c) for t, chains in observed.items() for c in chains):
                found.add(mode)
        if nftread.exists(netns, nftables_names.NAME, family=family):
            found.add(Mode.NFTABLES)
    return found
