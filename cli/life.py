"""netpod up, down, status, doctor, cleanup, kubeconfig."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netpod.errors import UsageError
from netpod_cli import context, output

if TYPE_CHECKING:
    from netpod.cluster.config import ClusterConfig
    from netpod.cluster.up import Started

_FILE = click.Path(dir_okay=False, resolve_path=True)


class Progress:
    """One line on a terminal that says what is being done; silent elsewhere."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()

    def __call__(self, step: str) -> None:
        """Say what is being done now."""
        if self._on:
            click.echo(f"\r\x1b[K{step} ...", nl=False, err=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._on:
            click.echo("\r\x1b[K", nl=False, err=True)


def _cluster() -> str:
    return context.paths().cluster


@click.command("up", help="Start a cluster on this machine.")
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="YAML file; README.md lists its fields. Options win.",
)
@click.option("--nodes", "workers", type=int, default=None, help="Number of workers.  [default: 2]")
@click.option(
    "--proxy-mode",
    default=None,
    help="How Services become rules: iptables, nftables or ipvs (deprecated, as upstream).  [default: iptables]",
)
@click.option(
    "--iptables-variant",
    default=None,
    help="Which iptables: nft or legacy, through libiptc.  [default: nft; legacy where the kernel has no nf_tables]",
)
@click.option(
    "--pod-network",
    default=None,
    help="How nodes reach each other's pods: host-gw or vxlan.  [default: host-gw]",
)
@click.option(
    "--ipvs-scheduler",
    default=None,
    help="How ipvs mode chooses: rr, wrr, lc, wlc, sh, ...  [default: rr]",
)
@click.option(
    "--ip-family",
    default=None,
    help="Addresses of pods, Services and nodes: ipv4, ipv6, or dual for both. With dual the networks below are "
    "two each, separated by a comma; the first Service network is of the primary family.  [default: ipv4]",
)
@click.option(
    "--pod-cidr",
    default=None,
    help="Network of the pods.  [default: 10.244.0.0/16, fd00:10:244::/56]",
)
@click.option(
    "--service-cidr",
    default=None,
    help="Network of the Services.  [default: 10.96.0.0/16, fd00:10:96::/112]",
)
@click.option(
    "--underlay-cidr",
    default=None,
    help="Network of the nodes.  [default: 172.18.0.0/16, fc00:f853:ccd:e793::/64]",
)
@click.option(
    "--lb-cidr",
    default=None,
    help="Load balancer addresses.  [default: 198.51.100.0/24, 2001:db8:198:51::/112]",
)
@click.option(
    "--outside-cidr",
    default=None,
    help="Network of the world.  [default: 203.0.113.0/24, 2001:db8:203:113::/64]",
)
@click.option(
    "--api-port",
    type=int,
    default=None,
    help="Port of the API server on 127.0.0.1.  [default: free]",
)
@click.option(
    "--stand-in/--no-stand-in", default=None, help="Stand in for images that are not here."
)
@click.option(
    "--allow-host-path",
    default=None,
    metavar="DIRECTORY[:DIRECTORY...]",
    help="What hostPath volumes may be below.  [default: nothing]",
)
@click.option(
    "--publish",
    multiple=True,
    metavar="PORT=TARGET",
    help="Lead a port of 127.0.0.1 to ingress[:443] or svc/NAME:PORT.  [default: 8080=ingress, 8443=ingress:443]",
)
@click.option(
    "--dns-forward/--no-dns-forward",
    default=None,
    help="Let cluster DNS ask this machine's name servers for other names.  [default: no]",
)
@click.option(
    "--attach/--no-attach",
    default=None,
    help="Give this machine a link netpod0 and routes to pods, Services and load balancers.  [default: no]",
)
@click.option(
    "--audit-log/--no-audit-log",
    default=None,
    help="Write a line about each API request into the logs' folder, audit.log.  [default: no]",
)
@click.option("--no-publish", is_flag=True, help="Open no port of 127.0.0.1 but the API server's.")
@click.option(
    "--fast-failure/--no-fast-failure",
    default=None,
    help="Find nodes dead and replace their pods in a tenth of upstream's time.  [default: no]",
)
@click.option(
    "--without",
    default=None,
    metavar="COMPONENT[,COMPONENT...]",
    help="Leave out kube-scheduler, kube-controller-manager or kube-proxy, to run another in its place; see "
    "docs/components.md.  [default: none]",
)
@click.option(
    "--store",
    default=None,
    metavar="etcd://HOST:2379[,HOST:2379...]",
    help="Keep the objects in an etcd of this cluster's own.  [default: a file of this machine]",
)
@click.option("--store-ca", default=None, type=_FILE, help="Who signed etcd's certificates (PEM).")
@click.option("--store-cert", default=None, type=_FILE, help="Certificate to show to etcd (PEM).")
@click.option("--store-key", default=None, type=_FILE, help="Its key (PEM).")
@click.option(
    "--wait/--no-wait", default=True, help="Wait until DNS, ingress and load balancer answer."
)
@click.option("--timeout", default="60s", help="How long to wait.", show_default=True)
@click.option("--retain", is_flag=True, help="Keep a cluster that did not start, to look at it.")
def up_command(
    file: Path | None,
    wait: bool,
    timeout: str,
    retain: bool,
    publish: tuple[str, ...],
    no_publish: bool,
    **options: Any,
) -> None:
    """Start a cluster."""
    from netpod.cluster import config as configuration
    from netpod.cluster import up
    from netpod_cli import waiting

    from_file = configuration.from_file(file) if file else {}
    named = {"name": _cluster()} if _cluster_chosen() or "name" not in from_file else {}
    if publish and no_publish:
        raise UsageError("cannot use --publish with --no-publish: choose one")
    options["publish"] = "" if no_publish else ",".join(publish) or None
    config = configuration.merged(from_file, options, named)
    progress = Progress()
    try:
        started = up.up(
            config, progress, wait=wait, timeout=waiting.seconds(timeout), retain=retain
        )
    finally:
        progress.clear()
    _say_started(config, started, wait)


def _say_started(config: "ClusterConfig", started: "Started", wait: bool) -> None:
    from netpod.cluster import without

    nodes = ", ".join(node.name for node in config.running)
    click.echo(f"cluster/{config.name} started in {started.seconds:.2f} s: {nodes}")
    if wait:
        click.echo(f"kubectl: export KUBECONFIG={started.kubeconfig}")
        for each in started.published:
            click.echo(f"published: {each.said}")
    for component in without.parse(config.without):
        kubeconfig = without.kubeconfig(config.paths, component)
        click.echo(f"left out: {component}; kubeconfig for another: {kubeconfig}")


def _cluster_chosen() -> bool:
    root = click.get_current_context().find_root()
    return root.get_parameter_source("cluster") is not click.core.ParameterSource.DEFAULT


@click.command("down", help="Take a cluster down and leave nothing behind.")
@click.option("--all", "everything", is_flag=True, help="Every cluster on this machine.")
def down_command(everything: bool) -> None:
    """Take a cluster down."""
    from netpod.cluster import cleanup, up

    for name in cleanup.clusters() if everything else [_cluster()]:
        up.down(name)
        click.echo(f"cluster/{name} deleted")


@click.command("stop", help="End a cluster's processes; netpod start has it back, as it was.")
def stop_command() -> None:
    """Stop a cluster."""
    from netpod.cluster import up

    up.stop(_cluster())
    click.echo(f"cluster/{_cluster()} stopped")


@click.command("start", help="Start a cluster that was stopped, or that a reboot ended.")
@click.option(
    "--wait/--no-wait", default=True, help="Wait until DNS, ingress and load balancer answer."
)
@click.option("--timeout", default="60s", help="How long to wait.", show_default=True)
def start_command(wait: bool, timeout: str) -> None:
    """Start a cluster again."""
    from netpod.cluster import up
    from netpod_cli import waiting

    progress = Progress()
    try:
        config, started = up.start(
            _cluster(), progress, wait=wait, timeout=waiting.seconds(timeout)
        )
    finally:
        progress.clear()
    _say_started(config, started, wait)


@click.command("cleanup", help="Remove what a crash has left, of one cluster or of --all.")
@click.option("--all", "everything", is_flag=True, help="Every cluster on this machine.")
def cleanup_command(everything: bool) -> None:
    """Remove what a crash has left."""
    from netpod.cluster import cleanup

    for name in cleanup.clusters() if everything else [_cluster()]:
        removed = cleanup.cleanup(name)
        click.echo(f"cluster/{name} cleaned up: {len(removed)} things removed")


@click.command("status", help="Say what runs and where it answers.")
@click.option("-o", "--output", "form", type=click.Choice(["text", "json"]), default="text")
def status_command(form: str) -> int:
    """Say what runs."""
    from netpod.cluster import status

    report = status.report(_cluster())
    if form == "json":
        click.echo(output.dump(report.as_json(), "json"))
    elif report.stopped:
        name = report.config.name
        click.echo(f"cluster/{name} is stopped; netpod start starts it, netpod down removes it")
    else:
        rows = [("PROCESS", "STATE", "PID", "PSS"), *report.rows()]
        click.echo(output.columns(rows))
        for name, value in report.facts():
            click.echo(f"{name}: {value}")
    return 0 if report.healthy else 3


@click.command("doctor", help="Check what this machine has and lacks.")
def doctor_command() -> int:
    """Check the machine."""

    from netpod.cluster import doctor, mtu

    checks = doctor.examine()
    if os.geteuid() == 0:
        checks += mtu.examine()
    for check in checks:
        mark = "ok  " if check.ok else ("FAIL" if check.essential else "none")
        advice = "" if check.ok else f"; {check.advice}"
        click.echo(f"{mark}  {check.name}: {check.found}{advice}")
    return 4 if any(not check.ok and check.essential for check in checks) else 0


@click.command("kubeconfig", help="Print the kubeconfig's text; --path prints where it is.")
@click.option("--path", "only_path", is_flag=True, help="Print the file's path.")
def kubeconfig_command(only_path: bool) -> None:
    """Print the kubeconfig."""
    path = context.paths().kubeconfig
    try:
        text = path.read_text()
    except FileNotFoundError:
        from netpod.cluster.config import not_up

        raise not_up(_cluster()) from None
    except PermissionError:
        raise UsageError(f"cannot read {path}: run as root (sudo netpod kubeconfig)") from None
    click.echo(path if only_path else text, nl=only_path)
