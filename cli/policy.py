"""netpod policy check, netpod policy matrix: what NetworkPolicies say, without a packet."""

import ipaddress
from typing import TYPE_CHECKING, Any, TypeVar

import click

from netpod.api.meta import Object
from netpod.errors import NotFound, UsageError
from netpod_cli import context

if TYPE_CHECKING:
    from netpod.policy.evaluate import Party, Verdict
    from netpod.policy.model import PodFacts, Policy

T = TypeVar("T", bound=Object)
_PROTOCOL = click.Choice(["TCP", "UDP", "SCTP", "ICMP"], case_sensitive=False)


@click.group("policy", help="Judge connections by the NetworkPolicies: check, matrix.")
def policy_command() -> None:
    """Judge connections."""


@policy_command.command("check")
@click.option(
    "--from",
    "source",
    required=True,
    metavar="WHERE",
    help="pod/[NS/]NAME, node/NAME or an address.",
)
@click.option(
    "--to",
    "target",
    required=True,
    metavar="WHERE[:PORT]",
    help="The same, with a port.  [default: 80]",
)
@click.option(
    "--protocol", type=_PROTOCOL, default="TCP", show_default=True, help="Of the connection."
)
@context.namespace_options
def check_command(source: str, target: str, protocol: str, namespace: str) -> int:
    """Say whether a connection is allowed, and which policies decide; exit code 3 when it is denied."""
    from netpod.policy import evaluate

    world = _World(context.api(), namespace)
    target, port = _split(target)
    verdict = evaluate.check(
        world.policies,
        world.labels,
        world.party(source),
        world.party(target),
        protocol.upper(),
        port,
    )
    colour = "green" if verdict.allowed else "red"
    click.echo(click.style("allowed" if verdict.allowed else "denied", fg=colour, bold=True))
    for side in (verdict.egress, verdict.ingress):
        click.echo(f"  {side}")
    return 0 if verdict.allowed else 3


@policy_command.command("matrix")
@click.option(
    "--port", default=80, show_default=True, type=click.IntRange(1, 65535), help="Of the target."
)
@click.option(
    "--protocol", type=_PROTOCOL, default="TCP", show_default=True, help="Of the connection."
)
@click.option("-A", "--all-namespaces", is_flag=True, help="Pods of all namespaces.")
@context.namespace_options
def matrix_command(port: int, protocol: str, all_namespaces: bool, namespace: str) -> None:
    """Print which pod reaches which: a row for each source, a column for each target."""
    from netpod.policy import evaluate
    from netpod.policy.evaluate import Party

    world = _World(context.api(), namespace)
    chosen = [
        pod
        for _, pod in sorted(world.pods.items())
        if all_namespaces or pod.key.namespace == namespace
    ]
    if not chosen:
        click.echo("No pods with an address found.", err=True)
        return
    parties = [Party(address=pod.pod_ip, pod=pod) for pod in chosen]
    names = [_shown(pod, all_namespaces) for pod in chosen]
    width = max(map(len, names))
    click.echo(f"{protocol.upper()} {port}:  . allowed  X denied, from rows to columns")
    for number, name in enumerate(names, 1):
        cells = [
            _cell(
                evaluate.check(
                    world.policies,
                    world.labels,
                    parties[number - 1],
                    target,
                    protocol.upper(),
                    port,
                )
            )
            for target in parties
        ]
        if number == 1:
            heads = "".join(f"{column:>4}" for column in range(1, len(names) + 1))
            click.echo(f"{'':>4} {'':<{width}}{heads}")
        click.echo(f"{number:>4} {name:<{width}}{''.join(cells)}")


def _cell(verdict: "Verdict") -> str:
    if verdict.allowed:
        return "   ."
    return "   " + click.style("X", fg="red")


def _shown(pod: "PodFacts", qualified: bool) -> str:
    return f"{pod.key.namespace}/{pod.key.name}" if qualified else pod.key.name


def _split(target: str) -> tuple[str, int]:
    name, colon, port = target.rpartition(":")
    if not colon:
        return target, 80
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"cannot read port {port!r}: say a number from 1 to 65535")
    return name, int(port)


class _World:
    """Policies, pods, nodes and namespaces as the API server has them now."""

    def __init__(self, api: Any, namespace: str) -> None:
        from netpod.api.core import Namespace
        from netpod.api.meta import key_of
        from netpod.api.networkpolicy import NetworkPolicy
        from netpod.api.node import Node, internal_ip
        from netpod.api.pod import Pod
        from netpod.policy import model

        self.namespace = namespace
        self.policies: list[Policy] = [model.policy_of(it) for it in _list(api, NetworkPolicy)]
        self.labels = {it.metadata.name: it.metadata.labels for it in _list(api, Namespace)}
        self.nodes = {it.metadata.name: internal_ip(it) for it in _list(api, Node)}
        self.on_host: dict[tuple[str, str], str] = {}
        self.pods: dict[tuple[str, str], PodFacts] = {}
        for pod in _list(api, Pod):
            facts = model.pod_of(pod)
            if facts is not None:
                self.pods[key_of(pod)] = facts
            elif pod.spec.host_network and pod.spec.node_name:
                self.on_host[key_of(pod)] = pod.spec.node_name

    def party(self, where: str) -> "Party":
        """Read `pod/NAME`, `pod/NAMESPACE/NAME`, `node/NAME` or an address."""
        from netpod.policy.evaluate import Party

        kind, _, name = where.partition("/")
        if kind in ("pod", "pods", "po"):
            space, slash, own = name.partition("/")
            key = (space, own) if slash else (self.namespace, name)
            if key in self.on_host:
                return self._node(self.on_host[key])
            if key not in self.pods:
                raise NotFound(f'pods "{key[1]}" with an address not found in namespace {key[0]}')
            return Party(address=self.pods[key].pod_ip, pod=self.pods[key])
        if kind in ("node", "nodes", "no"):
            return self._node(name)
        try:
            address = ipaddress.ip_address(where)
        except ValueError:
            raise UsageError(
                f"cannot read {where!r}: say pod/[NAMESPACE/]NAME, node/NAME or an address"
            ) from None
        found = [pod for pod in self.pods.values() if pod.pod_ip == address]
        node = next((n for n, ip in self.nodes.items() if ip == where), "")
        return Party(address=address, pod=found[0] if found else None, node=node)

    def _node(self, name: str) -> "Party":
        from netpod.policy.evaluate import Party

        if not self.nodes.get(name):
            raise NotFound(f'nodes "{name}" not found; there are {", ".join(sorted(self.nodes))}')
        return Party(address=ipaddress.ip_address(self.nodes[name]), node=name)


def _list(api: Any, cls: type[T]) -> list[T]:
    from netpod.api import codec, registry

    data = api.request("GET", registry.of(cls).path("", "", ""))
    return [codec.decode(cls, item) for item in data["items"]]
