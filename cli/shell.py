"""netpod shell."""

import os
import sys

import click

from netpod_cli import context

SHELL = "/bin/bash"


@click.command(
    "shell",
    help="Open a shell, or run a program, in a network namespace: shell node/worker [-- ip route].",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@context.namespace_options
@click.argument("where", metavar="outside|edge|node/X|pod/X")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- PROGRAM ARGUMENT...]")
def shell_command(namespace: str, where: str, command: tuple[str, ...]) -> int:
    """Run a shell of this machine there, and exit with its code."""
    from netpod.cluster import place
    from netpod.linux import process

    paths = context.paths()
    stand = place.find(paths, context.api(), where, namespace)
    if command and command[0] == "--":
        command = command[1:]
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    prompt = f"[netpod {paths.cluster} {where}] \\w # "
    shell = SHELL if os.access(SHELL, os.X_OK) else "/bin/sh"
    plain = [shell, "--norc"] if shell == SHELL else [shell]
    argv = list(command) or ["env", f"PS1={prompt}", *plain, *(["-i"] if terminal else [])]
    if stand.pod:
        from netpod_cli import exec as execution

        return execution.run_in_pod(stand, argv, tty=terminal)
    pid = process.spawn(argv, netns=stand.netns, stdin=0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
