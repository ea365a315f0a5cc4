"""netpod exec."""

from typing import TYPE_CHECKING

import click

from netpod_cli import context

if TYPE_CHECKING:
    from netpod.cluster.place import Place

from netpod.errors import UsageError


class _Exec(click.Command):
    """Also takes options between the pod and `--`: `exec POD -c NAME -- PROGRAM`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given, _, _ = self.make_parser(ctx).parse_args(list(args))
        # What was not given is a marker of click's, neither None nor a tuple.
        found = given.get("command")
        rest = list(found) if isinstance(found, tuple) else []
        if rest and rest[0].startswith("-") and "--" in rest[1:]:
            end = len(args) - len(rest)
            middle = rest.index("--", 1)
            args = [*args[: end - 1], *rest[:middle], args[end - 1], *rest[middle:]]
        return super().parse_args(ctx, args)


@click.command(
    "exec",
    cls=_Exec,
    help="Run a program of this machine inside a pod's namespaces: exec POD -- ip addr.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("-i", "--stdin", "stdin", is_flag=True, help="Pass standard input on.")
@click.option("-t", "--tty", is_flag=True, help="Standard input is a terminal.")
@click.option("-c", "--container", default="", help="Which container's environment.")
@context.namespace_options
@click.argument("pod")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENT]...")
def exec_command(
    stdin: bool, tty: bool, container: str, namespace: str, pod: str, command: tuple[str, ...]
) -> int:
    """Run a program inside a pod."""
    from netpod.cluster import place
    from netpod_cli import logs

    if command and command[0] == "--":
        command = command[1:]
    if not command or not command[0]:
        raise UsageError("you must specify at least one command for the container")
    if tty and not stdin:
        raise UsageError("cannot use -t without -i")
    api = context.api()
    found = logs.pod_of(api, pod, namespace)
    name = logs.container_of(found, container)
    stand = place.find(context.paths(), api, f"pod/{found['metadata']['name']}", namespace)
    return run_in_pod(stand, list(command), container=name, stdin=stdin, tty=tty)


def run_in_pod(
    stand: "Place", argv: list[str], *, container: str = "", stdin: bool = True, tty: bool = False
) -> int:
    """Run a program in the pod of a place and return its exit code."""
    import os

    from netpod.kubelet import runtime

    assert stand.pod, "only a pod has a shim to ask"
    socket = context.paths().shim_socket(stand.node)
    if tty:
        from netpod_cli import terminal

        return terminal.run(
            lambda fd: runtime.exec_in_pod(
                socket,
                stand.namespace,
                stand.pod,
                argv,
                container=container,
                streams=(fd, fd, fd),
                tty=True,
            )
        )
    source = 0 if stdin else os.open(os.devnull, os.O_RDONLY)
    return runtime.exec_in_pod(
        socket, stand.namespace, stand.pod, argv, container=container, streams=(source, 1, 2)
    )
