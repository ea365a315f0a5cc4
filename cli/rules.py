"""netpod rules."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from netpod.errors import NetpodError, NotFound, UsageError
from netpod_cli import context, output

if TYPE_CHECKING:
    from netpod.api.service import Service
    from netpod.cluster.config import ClusterConfig, NodeConfig
    from netpod.cluster.ipvsrules import Services
    from netpod.cluster.rulevalues import Chain
    from netpod.cluster.wantedrules import Line

    Look = Callable[[NodeConfig], list[Chain]]

_PAUSE = 0.25
"""Seconds between two looks at the kernel."""


@click.command(
    "rules",
    help="Show kube-proxy's live rules, in the order a packet meets them, with counters and meaning: rules svc/NAME, "
    "rules node/NAME, or rules for every node.",
)
@click.argument("what", metavar="[svc/NAME | node/NAME]", required=False, default="")
@click.option("--node", default="", help="Which node.  [default: every node]")
@click.option("-o", "--output", "form", default="", metavar="FORMAT", help="json or yaml.")
@click.option(
    "--diff",
    is_flag=True,
    help="Show what the kernel has too few (-) or too many (+) by what the API says now; exit code 1 if anything.",
)
@click.option("--watch", is_flag=True, help="Show lines as they come (+) and go (-), until Ctrl-C.")
@context.namespace_options
@click.pass_context
def rules_command(
    ctx: click.Context, what: str, node: str, form: str, diff: bool, watch: bool, namespace: str
) -> None:
    """Show rules."""
    from netpod.cluster import config as configuration
    from netpod.cluster import rules, wantedrules

    if diff and watch:
        raise UsageError("cannot show rules: choose one of --diff and --watch")
    if form not in ("", "json", "yaml"):
        raise UsageError(f"cannot show rules as {form!r}: allowed formats are json, yaml")
    if watch and form:
        raise UsageError("cannot show rules: --watch writes lines, not a document")
    api = context.api()
    service, node = _question(api, what, node, namespace)
    config = configuration.load(context.paths().cluster)
    nodes = [item for item in config.running if node in ("", item.name)]
    if not nodes and node in {item.name for item in config.nodes}:
        raise NetpodError(
            f"cannot show rules of node {node}: it is stopped; netpod node start {node} starts it"
        )
    if not nodes:
        known = ", ".join(item.name for item in config.nodes)
        raise NotFound(f'nodes "{node}" not found; there are {known}')
    variant = config.variant

    def services() -> "Sequence[Service]":
        return wantedrules.observe_services(api)

    def look(item: "NodeConfig") -> "list[Chain]":
        netns = config.paths.netns_node(item.name)
        if service:
            return rules.of_service(
                netns,
                namespace,
                service,
                variant=variant,
                families=config.families,
                services=services,
            )
        return rules.of_node(netns, variant=variant, families=config.families, services=services)

    if watch:
        _watch(nodes, look, service)
    elif diff:
        ctx.exit(_diff(api, config, nodes, look, services, (namespace, service), form))
    else:
        _show(nodes, look, form)


def _question(api: Any, what: str, node: str, namespace: str) -> tuple[str, str]:
    """The Service and the node that were asked for, "" for all."""
    if not what:
        return "", node
    (target,) = context.targets([what if "/" in what else f"svc/{what}"])
    if target.resource.kind == "Node":
        if node not in ("", target.name):
            raise UsageError(f"cannot show rules: node/{target.name} and --node {node} differ")
        return "", target.name
    if target.resource.kind != "Service":
        raise UsageError(f"cannot show rules: {target.qualified} is neither Service nor node")
    api.request("GET", target.path(namespace))
    return target.name, node


def _show(nodes: "Sequence[NodeConfig]", look: "Look", form: str) -> None:
    found = {item.name: look(item) for item in nodes}
    if form:
        said = [
            {"node": name, "chains": [dataclasses.asdict(chain) for chain in chains]}
            for name, chains in found.items()
        ]
        click.echo(output.dump({"nodes": said}, form))
        return
    for name, chains in found.items():
        click.echo(click.style(f"node {name}", bold=True))
        if not chains:
            click.echo("  no rules")
        for chain in chains:
            title = click.style(f"{chain.table} {chain.name}", fg="cyan")
            click.echo(f"  {title}  {chain.purpose}")
            for rule in chain.rules:
                counted = rule.packets is not None
                count = f"{rule.packets:>6} packets {rule.bytes:>8} bytes  " if counted else ""
                if rule.active is not None:
                    count += f"{rule.active:>4} active {rule.inactive:>4} inactive  "
                click.echo(f"    {count}{rule.rule}")
                if rule.meaning:
                    click.echo(click.style(f"      = {rule.meaning}", dim=True))


def _diff(
    api: Any,
    config: "ClusterConfig",
    nodes: "Sequence[NodeConfig]",
    look: "Look",
    services: "Services",
    service: tuple[str, str],
    form: str,
) -> int:
    from netpod.cluster import ipvsrules, proxymode, rules, wantedrules

    said = []
    for item in nodes:
        netns = config.paths.netns_node(item.name)
        told = dataclasses.replace(
            proxymode.proxy_config(config, item, netns),
            conntrack_tcp_be_liberal=wantedrules.liberal(netns),
        )
        modes = proxymode.observe(config, item.name)
        want: list[Chain] = []
        for own in filter(None, (told, told.secondary)):
            own = dataclasses.replace(own, conntrack_tcp_be_liberal=told.conntrack_tcp_be_liberal)
            ruled = wantedrules.wanted(api, own, modes)
            chosen = (
                rules.select(ruled, service, own.family, services)
                if service[1]
                else rules.every(ruled, own.family, services)
            )
            want += rules.named(chosen, own.family)
        have = ipvsrules.without_draining(look(item))
        said.append((item.name, wantedrules.difference(want, have)))
    if form:
        listed = [{"node": n, "lines": [dataclasses.asdict(x) for x in found]} for n, found in said]
        click.echo(output.dump({"nodes": listed}, form))
    else:
        for name, found in said:
            click.echo(click.style(f"node {name}", bold=True))
            if not found:
                click.echo("  the kernel has what the API asks for")
            for one in found:
                click.echo("  " + _line(one))
    return int(any(found for _, found in said))


def _watch(nodes: "Sequence[NodeConfig]", look: "Look", service: str) -> None:
    import datetime

    from netpod.cluster import wantedrules
    from netpod_cli import waiting

    before = {item.name: look(item) for item in nodes}
    click.echo(f"watching the rules of {service or 'every Service'} on {', '.join(before)}")
    while True:
        waiting.rest(_PAUSE)
        for item in nodes:
            after = look(item)
            for one in wantedrules.difference(before[item.name], after):
                now = f"{datetime.datetime.now():%H:%M:%S.%f}"[:-3]
                click.echo(f"{now} {item.name} {_line(one)}")
            before[item.name] = after


def _line(one: "Line") -> str:
    text = f"{one.sign} {one.table} {one.chain} {one.rule}"
    return click.style(text, fg="red" if one.sign == "-" else "green")
