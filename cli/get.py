"""netpod get."""

import sys
from typing import Any

import click
import orjson

from netpod.api.registry import Resource
from netpod.errors import BadRequest, NotFound, Unavailable, UsageError
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
) -> int:
    """List objects."""
    from netpod_cli import output as printer

    printer.check_format(output)
    plain = output in ("", "wide")
    api = context.api()
    namespace = "" if all_namespaces else namespace
    if files:
        wanted = context.manifest_targets(files, namespace)
    else:
        wanted = [(target, namespace) for target in dict.fromkeys(context.targets(arguments))]
    if watch and (len({target.resource for target, _ in wanted}) > 1 or not plain):
        raise UsageError("cannot watch: name one kind of object, and no output but wide")
    if any(target.name for target, _ in wanted):
        if all_namespaces:
            raise UsageError("a resource cannot be retrieved by name across all namespaces")
        if selector or field_selector:
            raise UsageError("selectors choose among objects; name a resource without a name")
    query = {"labelSelector": selector, "fieldSelector": field_selector}
    query = {name: value for name, value in query.items() if value}
    failures = context.Failures()
    found: list[tuple[Target, Any]] = []
    for target, place in wanted:
        with failures.said():
            try:
                path = target.path(place)
                accept = printer.TABLE if plain else "application/json"
                found.append((target, api.request("GET", path, query=query, accept=accept)))
            except NotFound:
                if not ignore_not_found:
                    raise
            except BadRequest as error:
                if not query:
                    raise
                # kubectl's words: the server's do not say in what.
                raise BadRequest(
                    f'unable to find {target.resource.plural} that match label selector "{selector}", '
                    f'field selector "{field_selector}": {error}'
                ) from error
    if not plain:
        _print_objects(found, output, single=len(wanted) == 1 and bool(wanted[0][0].name))
        return failures.code
    shown = _print_tables(
        found, wide=output == "wide", namespaces=all_namespaces, header=not no_headers
    )
    if not shown and not watch and not ignore_not_found and not failures.code:
        inside = not all_namespaces and any(target.resource.namespaced for target, _ in found)
        click.echo(f"No resources found{f' in {namespace} namespace.' if inside else ''}", err=True)
    if watch and found and not failures.code:
        target, data = found[0]
        version = str(data["metadata"].get("resourceVersion", ""))
        if len(found) > 1:
            raise UsageError("cannot watch: name one object, or none for all")
        try:
            _watch(
                api,
                target,
                wanted[0][1],
                {**query, "resourceVersion": version},
                wide=output == "wide",
                all_namespaces=all_namespaces,
            )
        except KeyboardInterrupt:
            return 130
    return failures.code


def _print_tables(
    found: list[tuple[Target, Any]], *, wide: bool, namespaces: bool, header: bool
) -> int:
    """Print one table for each resource and return how many rows they have."""
    tables: dict[Resource, dict[str, Any]] = {}
    for target, data in found:
        if data["rows"]:
            rows = tables.setdefault(target.resource, {**data, "rows": []})["rows"]
            rows.extend(data["rows"])
    several = len({target.resource for target, _ in found}) > 1
    for number, (resource, data) in enumerate(tables.items()):
        if number:
            click.echo()
        text = output.table(
            data,
            wide=wide,
            namespaces=namespaces and resource.namespaced,
            kind=Target(resource).qualified.rstrip("/") if several else "",
            header=header,
        )
        click.echo(text)
    return sum(len(data["rows"]) for data in tables.values())


def _print_objects(found: list[tuple[Target, Any]], output_format: str, *, single: bool) -> None:
    items: list[dict[str, Any]] = []
    for target, data in found:
        kind = {"apiVersion": target.resource.api_version, "kind": target.resource.kind}
        items += [data] if target.name else [kind | item for item in data["items"]]
    if output_format == "name":
        for item in items:
            click.echo(context.manifest_target(item).qualified)
        return
    if not items and (single or not found):
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
    raise Unavailable("cannot go on watching: the API server ended the watch")
