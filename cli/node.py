"""netpod node: add, delete, stop, start, drain, cordon and uncordon."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from netpod.api import registry
from netpod.client.blocking import MERGE_PATCH, BlockingClient
from netpod.errors import UsageError
from netpod_cli import context, waiting
from netpod_cli.context import Target

F = TypeVar("F", bound=Callable[..., Any])


@click.group("node", help="Add, delete, stop, start and drain nodes of a cluster that runs.")
def node_command() -> None:
    """Change nodes."""


def _waiting(command: F) -> F:
    command = click.option("--timeout", default="60s", show_default=True, help="How long to wait.")(
        command
    )
    return click.option("--wait/--no-wait", default=True, help="Wait until it is Ready.")(command)


@node_command.command("add", help="Add nodes; without a name one, called as the next worker.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@_waiting
def add_command(names: tuple[str, ...], wait: bool, timeout: str) -> None:
    """Add nodes."""
    from netpod.cluster import nodes

    api, cluster, limit = context.api(), context.paths().cluster, waiting.seconds(timeout)
    for name in [nodes.add(cluster, name).name for name in names or ("",)]:
        if wait:
            nodes.wait_ready(api, name, limit)
        click.echo(f"node/{name} added")


@node_command.command("delete", help="Remove nodes at once, with their pods; drain them before.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def delete_command(names: tuple[str, ...]) -> None:
    """Remove nodes."""
    from netpod.cluster import nodes

    api, cluster = context.api(), context.paths().cluster
    for name in names:
        nodes.delete(cluster, name, api)
        click.echo(f"node/{name} deleted")


@node_command.command("stop", help="Cut the power of nodes: traffic and processes end at once.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def stop_command(names: tuple[str, ...]) -> None:
    """Cut the power of nodes."""
    from netpod.cluster import nodes

    for name in names:
        nodes.stop(context.paths().cluster, name)
        click.echo(f"node/{name} stopped")


@node_command.command("start", help="Boot nodes that were stopped.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_waiting
def start_command(names: tuple[str, ...], wait: bool, timeout: str) -> None:
    """Boot nodes."""
    from netpod.cluster import nodes

    api, cluster, limit = context.api(), context.paths().cluster, waiting.seconds(timeout)
    for name in names:
        before = nodes.heartbeat(api, name)
        changed = nodes.start(cluster, name)
        if wait:
            nodes.wait_ready(api, name, limit, before if changed else "")
        click.echo(f"node/{name} started")


@node_command.command("cordon", help="Let no new pods onto nodes.")
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("-l", "--selector", default="", help="Nodes by label instead of by name.")
@click.option("--dry-run", type=click.Choice(["none", "client"]), default="none", help="Only say.")
def cordon_command(names: tuple[str, ...], selector: str, dry_run: str) -> None:
    """Let no new pods onto nodes."""
    api = context.api()
    for node in chosen(api, names, selector):
        cordon(api, node, True, dry=dry_run != "none")


@node_command.command("uncordon", help="Let pods onto nodes again.")
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("-l", "--selector", default="", help="Nodes by label instead of by name.")
@click.option("--dry-run", type=click.Choice(["none", "client"]), default="none", help="Only say.")
def uncordon_command(names: tuple[str, ...], selector: str, dry_run: str) -> None:
    """Let pods onto nodes again."""
    api = context.api()
    for node in chosen(api, names, selector):
        cordon(api, node, False, dry=dry_run != "none")


@node_command.command("drain", help="Cordon nodes and evict their pods, as kubectl drain does.")
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("-l", "--selector", default="", help="Nodes by label instead of by name.")
@click.option("--pod-selector", default="", help="Only pods with these labels.")
@click.option("--force", is_flag=True, help="Also pods that no controller will replace.")
@click.option("--ignore-daemonsets", is_flag=True, help="Leave pods of DaemonSets where they are.")
@click.option("--delete-emptydir-data", is_flag=True, help="Also pods whose emptyDir will be lost.")
@click.option("--disable-eviction", is_flag=True, help="Delete, and ask no disruption budget.")
@click.option("--grace-period", type=int, default=-1, help="Seconds a pod gets; -1 is its own.")
@click.option("--timeout", default="0s", help="Give up after this long; 0s is never.")
@click.option(
    "--skip-wait-for-delete-timeout",
    type=int,
    default=0,
    help="Do not wait for pods that are being deleted for longer than so many seconds.",
)
@click.option("--dry-run", type=click.Choice(["none", "client"]), default="none", help="Only say.")
def drain_command(names: tuple[str, ...], selector: str, **options: Any) -> int:
    """Cordon nodes and evict their pods."""
    from netpod_cli import drain

    api = context.api()
    found = chosen(api, names, selector)
    dry = options["dry_run"] != "none"
    for node in found:
        cordon(api, node, True, dry=dry)
    return drain.run(api, [node["metadata"]["name"] for node in found], dry=dry, **options)


def chosen(api: BlockingClient, names: Sequence[str], selector: str) -> list[dict[str, Any]]:
    """The Nodes that arguments name.

    Raises:
        UsageError: none, or both names and labels.
        NotFound: one does not exist.
    """
    if bool(names) == bool(selector):
        raise UsageError("name nodes, or choose them with --selector: one of both")
    path = registry.lookup("nodes").path("")
    if selector:
        return list(api.request("GET", path, query={"labelSelector": selector})["items"])
    plain = (name.removeprefix("node/") for name in names)
    return [api.request("GET", Target(registry.lookup("nodes"), name).path("")) for name in plain]


def cordon(api: BlockingClient, node: dict[str, Any], wanted: bool, *, dry: bool) -> None:
    """Make a node unschedulable or schedulable, and say so in kubectl's words."""
    name = node["metadata"]["name"]
    word = "cordoned" if wanted else "uncordoned"
    if bool(node["spec"].get("unschedulable")) == wanted:
        click.echo(f"node/{name} already {word}")
        return
    if not dry:
        api.request(
            "PATCH",
            Target(registry.lookup("nodes"), name).path(""),
            body={"spec": {"unschedulable": True if wanted else None}},
            content_type=MERGE_PATCH,
        )
    click.echo(f"node/{name} {word}{' (dry run)' if dry else ''}")
