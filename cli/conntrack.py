"""netpod conntrack."""

import json
from typing import TYPE_CHECKING

import click

from netpod.ip import host_port
from netpod_cli import context, output

if TYPE_CHECKING:
    from netpod.linux.conntrack import Tuple


@click.command(
    "conntrack", help="List tracked connections with what they mean: conntrack svc/NAME."
)
@click.argument("target", default="", metavar="[svc/NAME|node/NAME]")
@click.option("-o", "--output", "form", type=click.Choice(["table", "json"]), default="table")
@context.namespace_options
def conntrack_command(target: str, form: str, namespace: str) -> int:
    """List connection tracking entries."""
    from netpod.cluster import flows, tracing
    from netpod.trace.formats import columns

    rows = flows.of_cluster(context.paths(), tracing.objects(context.api()), target, namespace)
    if form == "json":
        found = [
            {
                "where": str(row.place),
                "protocol": row.flow.protocol,
                "state": row.flow.state,
                "original": _tuple(row.flow.original),
                "reply": _tuple(row.flow.reply),
                "mark": row.flow.mark,
                "timeout": row.flow.timeout,
                "id": row.flow.id,
                "meaning": row.meaning,
            }
            for row in rows
        ]
        click.echo(json.dumps(found, indent=2))
        return 0
    lines = [("WHERE", "PROTO", "STATE", "ORIGINAL", "REPLY", "TIMEOUT", "MEANING")]
    lines += [
        (
            str(row.place),
            row.flow.protocol,
            row.flow.state or "-",
            _tuple(row.flow.original),
            _tuple(row.flow.reply),
            f"{row.flow.timeout}s",
            row.meaning or "-",
        )
        for row in rows
    ]
    click.echo(columns.columns(lines, output.width()))
    return 0


def _tuple(side: "Tuple") -> str:
    if not side.source_port and not side.destination_port:
        return f"{side.source} → {side.destination}"
    source = host_port(side.source, side.source_port)
    return f"{source} → {host_port(side.destination, side.destination_port)}"
