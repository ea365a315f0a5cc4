"""netpod get."""

import sys
from typing import Any

import click
import orjson

from netpod.errors import NotFound
from netpod_cli import context, output
from netpod_cli.context import Target


@click.command("get", help="List objects: pods, pod/NAME, deploy,svc, all, -f FILE.")
@click.argument("arguments", nargs=-1, metavar="RESOURCE [NAME]...")
@click.option("-A", "--all-namespaces", is_flag=True, help="In all namespaces.")
@click.option("-l", "--selector", default="", help="Label selector.")
@click.option("--field-selector", default="", help="Field selector, e.g. spec.nodeName=worker.")
@click.option("-w", "--watch", is_flag=True, help="Go on showing changes.")
@click.option("-f", "--filename", "files", multiple=True, help="Objects that this file names.")
@click.option("--no-headers", is_flag=True, help="Only the rows.")
@click.option("--ignore-not-found", is_flag=True, help="Absent is no error.")
@output.output_option
@context.namespace_options
def get_command(
    arguments: tuple[str, ...],
    all_namespaces: bool,
    selector: str,
    field_selector: str,
    watch: bool,
    files: tuple[str, ...],
    no_headers: bool,
    ignore_not_found: bool,
    output: str,
    namespace: str,
) -> None:
    """List objects."""
    from netpod_cli import output as printer

    printer.check_format(output)
    api = context.api()
    if files:
        found = [context.manifest_target(manifest) for manifest in context.read_manifests(files)]
    else:
        found = context.targets(arguments)
    namespace = "" if all_namespaces else namespace
    query = {"labelSelector": selector, "fieldSelector": field_selector}
    query = {name: value for name, value in query.items() if value}
    if output and output != "wide":
        _print_objects(api, found, namespace, query, output, ignore_not_found)
        return
    shown = 0
    for target in found:
        try:
            data = api.request("GET", target.path(namespace), query=query, accept=printer.TABLE)
        except NotFound:
            if not ignore_not_found:
                raise
            continue
        if not data["rows"]:
            continue
        text = printer.table(
            data,
            wide=output == "wide",
            namespaces=all_namespaces and target.resource.namespaced,
            kind=target.qualified.rstrip("/") if len({t.resource for t in found}) > 1 else "",
            header=not no_headers and not (shown and found[0].resource == target.resource),
        )
        if shown and found[0].resource != target.resource:
            click.echo()
        click.echo(text)
        shown += len(data["rows"])
    if not shown and not watch and not ignore_not_found:
        where = "" if all_namespaces else f" in {namespace} namespace"
        click.echo(f"No resources found{where}.", err=True)
    if watch:
        _watch(
            api, found[0], namespace, query, wide=output == "wide", all_namespaces=all_namespaces
        )


def _print_objects(
    api: Any,
    found: list[Target],
    namespace: str,
    query: dict[str, str],
    output_format: str,
    ignore_not_found: bool,
) -> None:
    items: list[dict[str, Any]] = []
    for target in found:
        try:
            data = api.request("GET", target.path(namespace), query=query)
        except NotFound:
            if ignore_not_found:
                continue
            raise
        kind = {"apiVersion": target.resource.api_version, "kind": target.resource.kind}
        items += [kind | item for item in data["items"]] if not target.name else [data]
    if output_format == "name":
        for item in items:
            click.echo(
                Target(context.manifest_target(item).resource, item["metadata"]["name"]).qualified
            )
        return
    single = len(found) == 1 and found[0].name
    if single and not items:
        return
    value = items[0] if single else {"apiVersion": "v1", "kind": "List", "items": items}
    text = output.dump(value, output_format)
    click.echo(text, nl=not output_format.startswith("jsonpath") or sys.stdout.isatty())


def _watch(
    api: Any,
    target: Target,
    namespace: str,
    query: dict[str, str],
    *,
    wide: bool,
    all_namespaces: bool,
) -> None:
    query = {**query, "watch": "true"}
    if target.name:
        query["fieldSelector"] = f"metadata.name={target.name}"
    listing = api.request("GET", target.resource.path(namespace), query={"limit": "1"})
    query["resourceVersion"] = listing["metadata"]["resourceVersion"]
    path = target.resource.path(namespace)
    definitions = None
    with api.stream(path, query=query, accept=output.TABLE) as lines:
        for line in lines:
            data = orjson.loads(line)["object"]
            if data.get("kind") != "Table":
                continue
            # Only the first table of a watch carries the columns.
            definitions = data.get("columnDefinitions") or definitions
            data["columnDefinitions"] = definitions
            click.echo(output.table(data, wide=wide, namespaces=all_namespaces, header=False))
