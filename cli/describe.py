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
) -> int:
    """Show objects in detail."""
    from netpod_cli import description

    api = context.api()
    if files:
        found = context.manifest_targets(files, namespace)
    else:
        found = [(target, namespace) for target in context.targets(arguments)]
    failures = context.Failures()
    objects: list[tuple[Target, dict[str, object]]] = []
    query = {"labelSelector": selector} if selector else {}
    for target, place in found:
        with failures.said():
            data = api.request("GET", target.path(place), query=query)
            items = [data] if target.name else data["items"]
            objects += [(Target(target.resource, item["metadata"]["name"]), item) for item in items]
    if not objects and not failures.code:
        click.echo(f"No resources found in {namespace} namespace.", err=True)
    for number, (target, obj) in enumerate(objects):
        if number:
            click.echo("\n")
        click.echo(description.describe(api, target, obj))
    return failures.code
