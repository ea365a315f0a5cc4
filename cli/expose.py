"""netpod expose."""

import click

from netpod.api import exposing, registry
from netpod.errors import UsageError
from netpod_cli import context


@click.command("expose", help="Make a Service for a workload: expose deploy/NAME --port 80.")
@click.argument("arguments", nargs=-1, metavar="RESOURCE/NAME...")
@click.option("--name", default="", help="Name of the Service.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the Service.")
@click.option("--target-port", default="", help="Port of the containers, number or name.")
@click.option("--protocol", default="", help="TCP, UDP or SCTP.")
@click.option("--type", "type_", default="", help="ClusterIP, NodePort or LoadBalancer.")
@click.option("--cluster-ip", default="", help="An address, or None for a headless Service.")
@click.option("--selector", default="", help="Labels instead of the workload's: a=b,c=d.")
@context.namespace_options
def expose_command(
    arguments: tuple[str, ...],
    name: str,
    port: int | None,
    target_port: str,
    protocol: str,
    type_: str,
    cluster_ip: str,
    selector: str,
    namespace: str,
) -> None:
    """Make a Service for a workload."""
    api = context.api()
    chosen = dict(_pair(part) for part in selector.split(",") if part)
    for target in context.targets(arguments):
        if not target.name:
            raise UsageError("resource(s) were provided, but no name was specified")
        obj = {**api.request("GET", target.path(namespace)), "kind": target.resource.kind}
        body = exposing.service(
            obj,
            name=name,
            port=port,
            target_port=target_port,
            protocol=protocol.upper(),
            type_=type_,
            cluster_ip=cluster_ip,
            selector=chosen or None,
        )
        api.request("POST", registry.lookup("services").path(namespace), body=body)
        click.echo(f"service/{body['metadata']['name']} exposed")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"cannot read label {text!r}: write it like app=web")
    return name, value
