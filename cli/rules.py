"""netpod rules."""

import click

from netpod.errors import NotFound, UsageError
from netpod_cli import context


@click.command(
    "rules", help="Show the live rules of a Service on a node, with counters: rules svc/NAME."
)
@click.argument("service", metavar="svc/NAME")
@click.option("--node", default="", help="Which node.  [default: every node]")
@context.namespace_options
def rules_command(service: str, node: str, namespace: str) -> None:
    """Show a Service's rules."""
    from netpod.cluster import config as configuration
    from netpod.cluster import rules
    from netpod.proxy.config import Variant

    api = context.api()
    (target,) = context.targets([service if "/" in service else f"svc/{service}"])
    if target.resource.kind != "Service":
        raise UsageError(f"cannot show rules: {target.qualified} is no Service")
    api.request("GET", target.path(namespace))
    config = configuration.load(context.paths().cluster)
    known = [item.name for item in config.nodes]
    if node and node not in known:
        raise NotFound(f'nodes "{node}" not found; there are {", ".join(known)}')
    for item in [node] if node else known:
        netns = config.paths.netns_node(item)
        variant = Variant(config.iptables_variant)
        chains = rules.of_service(netns, namespace, target.name, variant=variant)
        click.echo(click.style(f"node {item}", bold=True))
        if not chains:
            click.echo("  no rules")
        for chain in chains:
            title = click.style(f"{chain.table} {chain.name}", fg="cyan")
            click.echo(f"  {title}  {chain.purpose}")
            for rule in chain.rules:
                counted = rule.packets is not None
                count = f"{rule.packets:>6} packets {rule.bytes:>8} bytes  " if counted else ""
                click.echo(f"    {count}{rule.rule}")
