"""A node whose kernel has no nf_tables: no NetworkPolicy is enforced there, and each is told so by an Event.

That is what Kubernetes says of a pod network without support for policies: creating one has no effect.
"""

import asyncio

from netpod.api.networkpolicy import NetworkPolicy
from netpod.client.events import EventRecorder
from netpod.client.informer import Informer
from netpod.client.rest import Client

REASON = "NotEnforced"
WHY = "this kernel has no nf_tables for IP addresses, so NetworkPolicies are not enforced"


async def run(client: Client, node_name: str) -> None:
    """Say so of every policy, and of those to come, until cancelled."""
    policies = Informer(client, NetworkPolicy)
    events = EventRecorder(client, "network-policy", node_name)

    def say(old: NetworkPolicy | None, new: NetworkPolicy | None) -> None:
        if old is None and new is not None:
            events.event(new, "Warning", REASON, f"node {node_name}: {WHY}")

    policies.subscribe(say)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(policies.run(), name="policy informer")
        tasks.create_task(events.run(), name="policy events")
