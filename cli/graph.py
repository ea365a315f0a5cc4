"""netpod graph."""

from typing import Any

import click

from netpod.api import registry
from netpod.errors import UsageError
from netpod_cli import context

_KINDS = {"Service": "service", "Ingress": "ingress"}


@click.command("graph", help="Draw the cluster or one way in it: graph svc/NAME -o svg > way.svg.")
@click.argument("what", default="all", metavar="[svc/NAME|ingress/NAME|all]")
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["mermaid", "dot", "svg", "html"]),
    default="mermaid",
    show_default=True,
    help="Form.",
)
@context.namespace_options
def graph_command(what: str, form: str, namespace: str) -> None:
    """Draw a picture."""
    from netpod.dashboard import graph, graphsvg

    kind = name = ""
    if what != "all":
        (target,) = context.targets([what])
        kind, name = _KINDS.get(target.resource.kind, ""), target.name
        if not kind or not name:
            raise UsageError(f"cannot draw {what}: svc/NAME, ingress/NAME or all")
    api = context.api()

    def listed(word: str) -> Any:
        return api.request("GET", registry.lookup(word).path())["items"]

    found = graph.compile(
        graph.Objects(
            nodes=listed("nodes"),
            pods=listed("pods"),
            services=listed("services"),
            slices=listed("endpointslices"),
            ingresses=listed("ingresses"),
        ),
        kind,
        namespace,
        name,
    )
    makers = {
        "mermaid": graph.to_mermaid,
        "dot": graph.to_dot,
        "svg": graphsvg.to_svg,
        "html": graphsvg.to_html,
    }
    click.echo(makers[form](found))
