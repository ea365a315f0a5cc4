"""netpod trace."""

import sys

import click

from netpod_cli import context, waiting


@click.command(
    "trace", help="Send a request from the outside and show every hop: trace http://example.com/."
)
@click.argument("url")
@click.option("-o", "--output", "form", type=click.Choice(["tree", "json"]), default="tree")
@click.option("-v", "--verbose", is_flag=True, help="Every rule of every hop.")
@click.option(
    "--timeout", default="5s", show_default=True, help="Silence after which the client gives up."
)
def trace_command(url: str, form: str, verbose: bool, timeout: str) -> int:
    """Send a request and follow it."""
    from netpod.cluster import tracing
    from netpod.trace import encode, render
    from netpod.trace.model import Verdict

    trace = tracing.trace_url(context.paths(), context.api(), url, timeout=waiting.seconds(timeout))
    if form == "json":
        click.echo(encode.to_json(trace))
    else:
        click.echo(render.to_text(trace, colour=sys.stdout.isatty(), verbose=verbose))
    return 0 if trace.verdict is Verdict.DELIVERED else 3
