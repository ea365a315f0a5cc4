"""netpod netem, partition, heal and kill."""

import re

import click

from netpod.errors import UsageError
from netpod_cli import context

_TIMES = {"": 0.001, "us": 1e-6, "ms": 0.001, "s": 1.0}
_RATES = {"bit": 1, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9}


@click.command(
    "netem",
    help="Worsen what a node, a pod, the edge or the outside sends, until --clear: delay, loss, rate. "
    "Needs a kernel with netem.",
)
@click.argument("place", metavar="node/X|pod/X|edge|outside")
@context.namespace_options
@click.option("--delay", default="", help="How long each packet waits, e.g. 50ms.")
@click.option("--jitter", default="", help="By how much that varies.")
@click.option("--loss", default="", help="Part of the packets that is lost, e.g. 1%.")
@click.option("--rate", default="", help="How much it may send a second, e.g. 10mbit.")
@click.option("--clear", is_flag=True, help="Send as before again.")
def netem_command(
    place: str, namespace: str, delay: str, jitter: str, loss: str, rate: str, clear: bool
) -> None:
    """Worsen a link."""
    from netpod.cluster import place as places
    from netpod.linux import netem

    if clear == bool(delay or jitter or loss or rate):
        raise UsageError("say --delay, --loss or --rate, or --clear alone")
    wanted = netem.Netem(
        delay=_number("--delay", delay, _TIMES),
        jitter=_number("--jitter", jitter, _TIMES),
        loss=_number("--loss", loss, {"%": 0.01}),
        rate=int(_number("--rate", rate, _RATES) / 8),
    )
    if wanted.loss > 1:
        raise UsageError(f"cannot use --loss {loss}: at most 100%")
    if jitter and not delay:
        raise UsageError("cannot use --jitter without --delay: it varies the delay")
    stand = places.find(context.paths(), context.api(), place, namespace)
    if clear:
        netem.clear(stand.netns, "eth0")
    else:
        netem.apply(stand.netns, "eth0", wanted)
    click.echo(f"{place} {'cleared' if clear else 'worsened'}")


@click.command(
    "partition",
    help="Cut the wire between two nodes, or a node and the edge; with one name, between it and everybody. "
    "Packets are dropped both ways; the nodes stay Ready, for they speak to the API server on this machine.",
)
@click.argument("one", metavar="NODE|edge")
@click.argument("other", metavar="[NODE|edge]", required=False, default="")
def partition_command(one: str, other: str) -> None:
    """Cut wires."""
    from netpod.cluster import config, faults

    for first, second in faults.partition(config.load(context.paths().cluster), one, other):
        click.echo(f"{first} and {second} are cut off from each other")


@click.command("heal", help="Mend the wire between two, all cuts of one, or every cut.")
@click.argument("one", metavar="[NODE|edge]", required=False, default="")
@click.argument("other", metavar="[NODE|edge]", required=False, default="")
def heal_command(one: str, other: str) -> None:
    """Mend wires."""
    from netpod.cluster import config, faults

    left = faults.heal(config.load(context.paths().cluster), one, other)
    for first, second in left:
        click.echo(f"{first} and {second} are still cut off from each other")
    if not left:
        click.echo("all wires are whole")


@click.command(
    "kill",
    help="SIGKILL a component (supervisor, controlplane, node/NAME with its kubelet and proxy, shim/NAME) or the "
    "containers of a pod (pod/NAME). Nobody is told: watch who notices, and who starts it again.",
)
@click.argument("what", metavar="supervisor|controlplane|node/X|shim/X|pod/X")
@click.option("-c", "--container", default="", help="Which container of the pod; all without it.")
@context.namespace_options
def kill_command(what: str, container: str, namespace: str) -> None:
    """Kill a process."""
    from netpod.cluster import config, kill

    kind, _, name = what.partition("/")
    if kind not in ("pod", "pods", "po"):
        if container:
            raise UsageError("--container is for pod/NAME alone")
        pid = kill.component(config.load(context.paths().cluster), what)
        click.echo(f"{what} killed (process {pid})")
        return
    from netpod_cli import logs

    pod = logs.pod_of(context.api(), name, namespace)
    for each, pid in kill.containers(context.paths(), pod, container).items():
        click.echo(f"pod/{name} container {each} killed (process {pid})")


def _number(option: str, text: str, units: dict[str, float]) -> float:
    if not text:
        return 0.0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z%]*)", text.lower())
    if match is None or match[2] not in units:
        known = ", ".join(unit or "none (ms)" for unit in units)
        raise UsageError(f"cannot use {option} {text}: write a number with its unit: {known}")
    return float(match[1]) * units[match[2]]
