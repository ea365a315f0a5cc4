"""netpod port-forward."""

import asyncio

import click

from netpod.errors import BadRequest, UsageError
from netpod_cli import context


@click.command(
    "port-forward", help="Lead ports of 127.0.0.1 to a pod: pod/NAME, svc/NAME or deploy/NAME."
)
@context.namespace_options
@click.argument("target")
@click.argument("ports", nargs=-1, required=True, metavar="[LOCAL:]REMOTE...")
def port_forward_command(namespace: str, target: str, ports: tuple[str, ...]) -> int:
    """Forward ports until interrupted."""
    from netpod.cluster import place, portforward
    from netpod_cli import logs

    api = context.api()
    pod = logs.pod_of(api, target, namespace)
    name = pod["metadata"]["name"]
    stand = place.find(context.paths(), api, f"pod/{name}", namespace)
    meant = context.targets([target if "/" in target else f"pod/{target}"])[0]

    def remote(word: str) -> int:
        if meant.resource.kind == "Service":
            service = api.request("GET", meant.path(namespace))
            return portforward.service_port(service, pod, word)
        return portforward.pod_port(pod, word)

    try:
        forwards = [portforward.parse(word, remote) for word in ports]
    except BadRequest as error:
        raise UsageError(str(error)) from error
    netns = "" if pod["spec"].get("hostNetwork") else stand.netns
    if not netns:
        netns = context.paths().netns_node(stand.node)
    try:
        asyncio.run(
            portforward.run(netns, forwards, click.echo, lambda text: click.echo(text, err=True))
        )
    except KeyboardInterrupt:
        return 130
    return 0
