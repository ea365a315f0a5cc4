"""The `netpod` command: its groups, what all commands share, and error -> message and exit code."""

import errno
import importlib
import os
import sys

import click

from netpod import __version__, paths
from netpod.errors import NetpodError, Unsupported

_COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("life", "Start a cluster on this machine."),
    "down": ("life", "Take a cluster down and leave nothing behind."),
    "graph": ("graph", "Draw the cluster, or the way to a Service or Ingress."),
    "dashboard": ("dashboard", "Print the address of the dashboard; --open opens it."),
    "status": ("life", "Say what runs and where it answers."),
    "demo": ("demo", "Start a cluster, apply the example and trace one request."),
    "doctor": ("life", "Check what this machine has and lacks."),
    "stop": ("life", "Stop a cluster, to be started again as it was."),
    "start": ("life", "Start a cluster that was stopped, or that a reboot ended."),
    "node": ("node", "Add, delete, stop, start and drain nodes."),
    "cleanup": ("life", "Remove what a crash has left."),
    "image": ("image", "Pull, load, list and remove images."),
    "kubeconfig": ("life", "Print the kubeconfig for kubectl."),
    "apply": ("apply", "Create or change objects from files."),
    "get": ("get", "List objects."),
    "describe": ("describe", "Show objects in detail, with their events."),
    "delete": ("delete", "Delete objects."),
    "scale": ("scale", "Set the number of replicas."),
    "rollout": ("rollout", "Follow, restart and undo rollouts."),
    "expose": ("expose", "Make a Service for a workload."),
    "top": ("top", "Show what nodes, pods and links use."),
    "events": ("events", "List what happened."),
    "wait": ("wait", "Wait for a condition."),
    "logs": ("logs", "Print a container's log."),
    "exec": ("exec", "Run a program inside a pod's namespaces."),
    "attach": ("attach", "Join the streams of a container that runs."),
    "cp": ("cp", "Copy files to and from a container."),
    "run": ("run", "Make a pod of one container."),
    "port-forward": ("port_forward", "Lead ports of this machine to a pod."),
    "curl": ("curl", "Run curl from the outside, a node or a pod."),
    "dig": ("dig", "Ask DNS as a pod would, and show every query."),
    "ping": ("ping", "Run ping from the outside, a node or a pod."),
    "shell": ("shell", "Open a shell in the outside, the edge, a node or a pod."),
    "trace": ("trace", "Send a request and show every hop it takes."),
    "proxy-mode": ("proxymode", "Change how Services become rules, while everything runs."),
    "explain": ("explain", "Predict where a request would go, without sending it."),
    "capture": ("capture", "Write packets of pods, nodes or the edge as pcapng."),
    "conntrack": ("conntrack", "List tracked connections, with what they mean."),
    "netem": ("faults", "Worsen what a node, a pod or the edge sends: delay, loss, rate."),
    "partition": ("faults", "Cut the wire between two nodes."),
    "heal": ("faults", "Mend cut wires."),
    "kill": ("faults", "Kill a component's process or a pod's containers, as a crash would."),
    "policy": ("policy", "Judge connections by the NetworkPolicies, without a packet."),
    "rules": ("rules", "Show live rules with counters and meaning; --diff, --watch."),
}
_SECTIONS = (
    (
        "Life",
        (
            "up",
            "down",
            "stop",
            "start",
            "node",
            "status",
            "dashboard",
            "graph",
            "demo",
            "doctor",
            "cleanup",
            "image",
            "kubeconfig",
        ),
    ),
    (
        "Objects",
        (
            *("apply", "get", "describe", "delete", "scale", "rollout", "expose", "wait"),
            *("run", "logs", "exec", "attach", "cp", "port-forward", "events", "top"),
        ),
    ),
    (
        "Data path",
        (
            *("trace", "explain", "capture", "conntrack", "rules", "policy", "proxy-mode"),
            *("curl", "dig", "ping", "shell"),
        ),
    ),
    ("Faults", ("netem", "partition", "heal", "kill")),
)


class _Lazy(click.Group):
    """Commands whose modules are imported only when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"netpod_cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command, _plain_flags(command, rest) if command else rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in _SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(name, _COMMANDS[name][1]) for name in names])


def _plain_flags(command: click.Command, args: list[str]) -> list[str]:
    """Write kubectl's `--wait=false` and `--all=true` the way click reads them."""
    end = args.index("--") if "--" in args else len(args)
    flags = {
        name: option.secondary_opts[:1]
        for option in command.params
        if isinstance(option, click.Option) and option.is_flag
        for name in option.opts
    }
    plain: list[str] = []
    for word in args[:end]:
        name, _, value = word.partition("=")
        if name in flags and value in ("true", "false"):
            plain += [name] if value == "true" else flags[name]
        else:
            plain.append(word)
    return plain + args[end:]


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--cluster",
    envvar="NETPOD_CLUSTER",
    default="netpod",
    show_default=True,
    metavar="NAME",
    help="Which cluster; also the environment variable NETPOD_CLUSTER.",
)
@click.version_option(__version__, prog_name="netpod")
@click.pass_context
def netpod(ctx: click.Context, cluster: str) -> None:
    """A Kubernetes cluster's network data path, for real, on this machine.

    The first thing to try: sudo netpod demo
    """
    ctx.obj = cluster
    asks_only = ctx.invoked_subcommand == "doctor" or {"-h", "--help"} & set(sys.argv)
    if os.geteuid() != 0 and not asks_only:
        raise Unsupported(
            f"cannot {ctx.invoked_subcommand}: network namespaces and a cluster's files belong to root; "
            f"run it with sudo: sudo netpod {ctx.invoked_subcommand} ..."
        )
    if ctx.invoked_subcommand not in ("up", "down", "cleanup", "doctor") and not asks_only:
        if paths.is_cluster_name(cluster):
            _put_back(cluster)


def _put_back(cluster: str) -> None:
    """Undo what a killed trace or comparison left; to find that there is nothing takes a look at two files."""
    found = paths.Paths(cluster)
    if found.trace_lock.with_name("trace.armed").exists():
        from netpod.cluster import tracing

        tracing.sweep(found)
    if (found.run / "compare.kept").exists():
        from netpod.client.blocking import BlockingClient
        from netpod.cluster import compare

        try:
            compare.put_back(found, BlockingClient(found.api_socket))
        except NetpodError as error:
            click.echo(f"warning: the proxy mode is not put back yet: {error}", err=True)


def entry() -> None:
    """Run the command line; exit codes are 0 ok, 1 failed, 2 usage, 3 a check found a problem, 4 machine."""
    try:
        sys.exit(run(sys.argv[1:]))
    except BrokenPipeError:
        # Whoever read our output has had enough; Python would complain at exit about the unwritten rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        click.echo(f"error: cannot write the output: {error.strerror}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def run(argv: list[str]) -> int:
    """Run one command and return its exit code."""
    try:
        result = netpod.main(argv, prog_name="netpod", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        return 130
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
        said = error.format_message().strip().rstrip(".")
        click.echo(
            f"error: {said[:1].lower()}{said[1:]}" + (f"; see {where} --help" if where else ""),
            err=True,
        )
        return error.exit_code
    except NetpodError as error:
        click.echo(f"error: {' '.join(str(error).splitlines())}", err=True)
        return error.exit_code
