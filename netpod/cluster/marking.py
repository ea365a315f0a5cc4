"""Marks the control plane's node as such: no kubelet may give itself that label.

Source: kubeadm's phase mark-control-plane, cmd/kubeadm/app/phases/markcontrolplane.
"""

import asyncio
from typing import NoReturn

from netpod.api.node import Node
from netpod.client.informer import Informers
from netpod.client.rest import Client
from netpod.errors import ApiError

LABEL = "node-role.kubernetes.io/control-plane"
_RETRY_SECONDS = 0.5


async def run(client: Client, informers: Informers, name: str) -> NoReturn:
    """Give the node of that name the label whenever it lacks it, also when it registers anew, for ever."""
    nodes = informers.of(Node)
    news = asyncio.Event()

    def changed(_: Node | None, node: Node | None) -> None:
        if node is not None and node.metadata.name == name and LABEL not in node.metadata.labels:
            news.set()

    nodes.subscribe(changed)
    while True:
        await news.wait()
        news.clear()
        try:
            await client.patch(Node, name, "", {"metadata": {"labels": {LABEL: ""}}})
        except ApiError:
            await asyncio.sleep(_RETRY_SECONDS)
            for node in nodes.values():
                changed(None, node)
