"""netpod dig."""

import json
from typing import TYPE_CHECKING

import click

from netpod_cli import context

if TYPE_CHECKING:
    from netpod.cluster.dig import Query

CONTROL_PLANE = "node/control-plane"


@click.command(
    "dig",
    help="Ask DNS as a pod would, and show every query of its search list: dig NAME [TYPE].",
)
@click.option(
    "--from",
    "origin",
    default=CONTROL_PLANE,
    show_default=True,
    help="pod/X with its own resolv.conf, or node/X with that of pods in the namespace.",
)
@click.option("--server", default="", metavar="ADDRESS", help="Ask this server, without a list.")
@click.option("-o", "--output", "form", type=click.Choice(["text", "json"]), default="text")
@context.namespace_options
@click.argument("name")
@click.argument("type_", metavar="[TYPE]", default="")
def dig_command(origin: str, server: str, form: str, namespace: str, name: str, type_: str) -> int:
    """Look a name up; exit with 3 when it has no such records."""
    from netpod.cluster import dig, place

    paths, api = context.paths(), context.api()
    stand = place.find(paths, api, origin, namespace)
    word, kind = dig.question(name, type_.upper())
    if server:
        resolver = dig.Resolver(servers=(server,))
    else:
        resolver = dig.resolver(paths, api, stand, namespace)
    queries: list[Query] = []
    if form == "text":
        click.echo(f"; {' '.join(('nameserver', *resolver.servers))}")
        if resolver.search:
            click.echo(f"; search {' '.join(resolver.search)}, ndots:{resolver.ndots}")
    for query in dig.ask(stand.netns, resolver, word, kind):
        queries.append(query)
        if form == "text":
            _show(query)
    if form == "json":
        fields = ("name", "type", "server", "transport", "rcode", "error", "flags", "ms")
        sections = ("answer", "authority", "additional")
        shown = {
            "name": word.rstrip("."),
            "type": kind,
            "from": origin,
            "servers": list(resolver.servers),
            "search": list(resolver.search),
            "ndots": resolver.ndots,
            "queries": [
                {field: getattr(query, field) for field in fields}
                | {section: list(getattr(query, section)) for section in sections}
                for query in queries
            ],
        }
        click.echo(json.dumps(shown, indent=2))
    return 0 if queries and queries[-1].final else 3


def _show(query: "Query") -> None:
    said = query.rcode or query.error
    if query.rcode == "NOERROR" and not query.answer and not query.truncated:
        said += ", no records of this type"
    said += f" [{query.flags}]" if query.flags else ""
    click.echo(
        f"{query.name}. {query.type} @{query.server} {query.transport}: {said}, {query.ms:.1f} ms"
    )
    for record in query.answer:
        click.echo(f"    {record}")
    for section in ("authority", "additional"):
        for record in getattr(query, section):
            click.echo(f"    {record}  ; {section}")
