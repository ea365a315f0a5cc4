"""The dashboard in the control plane process: a socket that listens, and everything else when somebody comes."""

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from netpod import web
from netpod.cluster.config import ClusterConfig
from netpod.dashboard import links
from netpod.ip import Family

if TYPE_CHECKING:
    from netpod.api.service import Service
    from netpod.cluster.rulevalues import Chain

log = logging.getLogger(__name__)


async def run(config: ClusterConfig) -> None:
    """Serve until cancelled."""
    try:
        listening = links.listen()
    except OSError as error:
        log.warning(
            "no dashboard: cannot listen on %s: %s", links.ADDRESS, os.strerror(error.errno or 0)
        )
        return
    link = links.save(config.paths, listening.getsockname()[1])
    await web.readable(listening.fileno())
    # Now somebody has come; what the page needs is in memory from here on.
    from netpod.dashboard.server import Dashboard

    await Dashboard(
        config.paths, link, lambda namespace, name: rules(config, namespace, name)
    ).serve(listening)


TRACKED = 10_000
"""Flows of a node that are looked through for a page, at most."""


def connections(netns: str, chains: "Sequence[Chain]") -> dict[str, int]:
    """Connections that conntrack knows, by the chain of the endpoint they lead to, where rules count nothing."""
    from netpod.linux import conntrack

    ends: dict[tuple[str, int], str] = {}
    for chain in chains:
        _, found, end = chain.name.partition("__")
        address, _, port = end.rpartition("/")
        if found and port.isdigit():
            ends[address.replace(".", ":") if address.count(".") > 3 else address, int(port)] = (
                chain.name
            )
    if not ends or conntrack.count(netns) > TRACKED:
        return {}
    tracked = dict.fromkeys(ends.values(), 0)
    for family in {Family.IPV6 if ":" in address else Family.IPV4 for address, _ in ends}:
        for flow in conntrack.observe(netns, family=family):
            name = ends.get((flow.reply.source.compressed, flow.reply.source_port))
            if name is not None and flow.reply.source != flow.original.destination:
                tracked[name] += 1
    return tracked


def rules(config: ClusterConfig, namespace: str, name: str) -> list[dict[str, object]]:
    """The live rules of a Service, node by node."""
    from netpod.cluster import rules as live

    variant = config.variant
    found: list[dict[str, object]] = []
    for node in config.running:
        netns = config.paths.netns_node(node.name)
        chains = live.of_service(
            netns,
            namespace,
            name,
            variant=variant,
            families=config.families,
            services=lambda: _services(config),
        )
        tracked = connections(netns, chains)
        shown = [
            {
                "table": chain.table,
                "name": chain.name,
                "purpose": chain.purpose,
                "connections": tracked.get(chain.name),
                "rules": [
                    {"rule": r.rule, "packets": r.packets, "bytes": r.bytes, "meaning": r.meaning}
                    for r in chain.rules
                ],
            }
            for chain in chains
        ]
        found.append({"node": node.name, "chains": shown})
    return found


def _services(config: ClusterConfig) -> "list[Service]":
    from netpod.client.blocking import BlockingClient
    from netpod.cluster import wantedrules

    client = BlockingClient(config.paths.api_socket)
    try:
        return wantedrules.observe_services(client)
    finally:
        client.close()
