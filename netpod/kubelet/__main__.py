"""`python -m netpod.kubelet CLUSTER NODE NODE_IP`: one kubelet, in the network namespace it is started in."""

import ipaddress
import logging
import sys

import uvloop

from netpod.client.rest import Client
from netpod.kubelet import agent
from netpod.kubelet.config import KubeletConfig
from netpod.paths import Paths


async def _main(cluster: str, node: str, node_ip: str) -> None:
    paths = Paths(cluster)
    config = KubeletConfig(
        cluster=cluster,
        node=node,
        node_ips=(ipaddress.ip_address(node_ip),),
        paths=paths,
        shim_socket=paths.shim_socket(node),
    )
    client = Client.unix(paths.socket_of(f"node-{node}"))
    try:
        await agent.run(client, config)
    finally:
        await client.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    uvloop.run(_main(*sys.argv[1:4]))
