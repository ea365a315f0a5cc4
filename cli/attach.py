"""netpod attach."""

import click

from netpod.errors import UsageError
from netpod_cli import context


@click.command(
    "attach", help="Join the streams of a container that runs: attach POD -c NAME -i -t."
)
@click.option("-c", "--container", default="", help="Which container of the pod.")
@click.option("-i", "--stdin", "stdin", is_flag=True, help="Pass standard input on.")
@click.option("-t", "--tty", is_flag=True, help="Standard input is a terminal.")
@context.namespace_options
@click.argument("pod")
def attach_command(container: str, stdin: bool, tty: bool, namespace: str, pod: str) -> int:
    """Join a container's streams until it ends."""
    from netpod_cli import logs

    api = context.api()
    found = logs.pod_of(api, pod, namespace)
    name = logs.container_of(found, container)
    return attach(found, name, namespace, stdin=stdin, tty=tty)


def attach(
    pod: dict[str, object], container: str, namespace: str, *, stdin: bool, tty: bool
) -> int:
    """Join a container's streams with ours; return its exit code.

    Raises:
        UsageError: the container has no standard input, or no terminal.
    """
    import asyncio
    import os
    import sys

    from netpod.client import streams
    from netpod_cli import terminal

    target = context.targets([f"pod/{_name(pod)}"])[0]
    spec = next(it for it in _containers(pod) if it["name"] == container)
    if stdin and not spec.get("stdin"):
        raise UsageError(
            f"cannot attach: container {container} has no standard input (spec.stdin is false)"
        )
    if tty and not spec.get("tty"):
        click.echo(f"Unable to use a TTY - container {container} did not allocate one", err=True)
        tty = False

    def size() -> tuple[int, int]:
        found = os.get_terminal_size(1) if sys.stdout.isatty() else os.terminal_size((80, 24))
        return found.columns, found.lines

    joined = streams.Streams(stdin=0 if stdin else None, tty=tty, size=size)
    path = target.path(namespace, "attach")
    with terminal.raw(enabled=tty and stdin):
        return asyncio.run(streams.attach(context.paths().api_socket, path, container, joined))


def _name(pod: dict[str, object]) -> str:
    metadata = pod["metadata"]
    assert isinstance(metadata, dict), "an object has metadata"
    return str(metadata["name"])


def _containers(pod: dict[str, object]) -> list[dict[str, object]]:
    spec = pod["spec"]
    assert isinstance(spec, dict), "a pod has a spec"
    kinds = ("initContainers", "containers", "ephemeralContainers")
    return [item for kind in kinds for item in spec.get(kind) or ()]
