"""netpod scale."""

import click

from netpod.client.blocking import MERGE_PATCH
from netpod.errors import UsageError
from netpod_cli import context


@click.command("scale", help="Set the number of replicas: scale deploy/NAME --replicas 3.")
@click.argument("arguments", nargs=-1, metavar="RESOURCE/NAME...")
@click.option("--replicas", type=click.IntRange(min=0), required=True, help="How many pods.")
@click.option("--current-replicas", type=int, default=-1, help="Only if it is this many now.")
@context.namespace_options
def scale_command(
    arguments: tuple[str, ...], replicas: int, current_replicas: int, namespace: str
) -> None:
    """Set the number of replicas."""
    api = context.api()
    for target in context.targets(arguments):
        if not target.name:
            raise UsageError("resource(s) were provided, but no name was specified")
        if "scale" not in target.resource.subresources:
            raise UsageError(
                f"cannot scale {target.qualified}: {target.resource.plural} have no replicas"
            )
        if current_replicas >= 0:
            scale = api.request("GET", target.path(namespace, "scale"))
            found = scale.get("spec", {}).get("replicas", 0)
            if found != current_replicas:
                raise UsageError(f"expected replicas to be {current_replicas}, was {found}")
        api.request(
            "PATCH",
            target.path(namespace, "scale"),
            body={"spec": {"replicas": replicas}},
            content_type=MERGE_PATCH,
        )
        click.echo(f"{target.qualified} scaled")
