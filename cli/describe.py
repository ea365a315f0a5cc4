"""netpod describe."""

import click

from netpod_cli import context
from netpod_cli.context import Target


@click.command("describe", help="Show objects in detail, with their events: describe pod/NAME.")
@click.argument("arguments", nargs=-1, metavar="RESOURCE [NAME]...")
@click.option("-l", "--selector", default="", help="Label selector.")
@click.option("-f", "--filename", "files", multiple=True, help="Objects that this file names.")
@context.namespace_options
def describe_command(
    arguments: tuple[str, ...], selector: str, files: tuple[str, ...], namespace: str
) -> None:
    """Show objects in detail."""
    from netpod_cli import description

    api = context.api()
    if files:
        found = [context.manifest_target(manifest) for manifest in context.read_manifests(files)]
    else:
        found = context.targets(arguments)
    objects: list[tuple[Target, dict[str, object]]] = []
    for target in found:
        query = {"labelSelector": selector} if selector else {}
        data = api.request("GET", target.path(namespace), query=query)
        items = [data] if target.name else data["items"]
        objects += [(Target(target.resource, item["metadata"]["name"]), item) for item in items]
    if not objects:
        click.echo(f"No resources found in {namespace} namespace.", err=True)
    for number, (target, obj) in enumerate(objects):
        if number:
            click.echo("\n")
        click.echo(description.describe(api, target, obj))
