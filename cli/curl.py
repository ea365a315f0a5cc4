"""netpod curl."""

import os
import re

import click

from netpod_cli import context


@click.command(
    "curl",
    help="Run curl from the outside, a node or a pod; hosts of Ingresses lead to the load balancer.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option(
    "--from", "origin", default="outside", show_default=True, help="outside, edge, node/X or pod/X."
)
@context.namespace_options
@click.argument(
    "arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="URL [CURL OPTION]..."
)
def curl_command(origin: str, namespace: str, arguments: tuple[str, ...]) -> int:
    """Run curl."""
    from netpod.cluster import place
    from netpod.linux import process

    api = context.api()
    stand = place.find(context.paths(), api, origin, namespace)
    argv = ["curl", "--silent", "--show-error"]
    hosts = [match[1] for a in arguments if (match := re.match(r"(?:https?://)?([^/:]+)", a))]
    routed = place.ingress_hosts(api)
    for host in hosts:
        if _routed(host, routed):
            address = place.ingress_address(api)
            argv += ["--resolve", f"{host}:80:{address}", "--resolve", f"{host}:443:{address}"]
    argv += arguments
    if stand.pod:
        from netpod_cli import exec as execution

        return execution.run_in_pod(stand, argv)
    pid = process.spawn(argv, netns=stand.netns, stdin=0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _routed(host: str, routed: set[str]) -> bool:
    return host in routed or f"*.{host.partition('.')[2]}" in routed
