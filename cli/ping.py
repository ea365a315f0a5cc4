"""netpod ping."""

import ipaddress
import os
from typing import TYPE_CHECKING

import click

from netpod.errors import NotFound
from netpod_cli import context

if TYPE_CHECKING:
    from netpod.cluster.place import Place

COUNT = 4


@click.command(
    "ping",
    help="Run ping from the outside, a node or a pod to another, a Service, an address or a name.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option(
    "--from",
    "origin",
    default="node/control-plane",
    show_default=True,
    help="outside, edge, node/X or pod/X.",
)
@context.namespace_options
@click.argument("target", metavar="outside|edge|node/X|pod/X|svc/X|ADDRESS|NAME")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PING OPTION]...")
def ping_command(origin: str, namespace: str, target: str, arguments: tuple[str, ...]) -> int:
    """Run ping, four times unless told otherwise."""
    from netpod.cluster import config, place
    from netpod.linux import process

    paths, api = context.paths(), context.api()
    stand = place.find(paths, api, origin, namespace)
    to = place.address(config.load(paths.cluster), api, target, namespace)
    if not to:
        to = target if _is_address(target) else _resolved(stand, target, namespace)
    count = () if any(a.startswith(("-c", "-w")) for a in arguments) else ("-c", str(COUNT))
    argv = ["ping", "-n", *count, *arguments, to]
    if stand.pod:
        from netpod_cli import exec as execution

        return execution.run_in_pod(stand, argv)
    pid = process.spawn(argv, netns=stand.netns, stdin=0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _resolved(stand: "Place", name: str, namespace: str) -> str:
    """The first address of a name, as the place's resolver finds it."""
    from netpod.cluster import dig

    resolver = dig.resolver(context.paths(), context.api(), stand, namespace)
    word, kind = dig.question(name, "")
    for query in dig.ask(stand.netns, resolver, word, kind):
        if query.final:
            return query.answer[-1].split()[-1]
    raise NotFound(f"cannot find the address of {name}: cluster DNS knows no such name")
