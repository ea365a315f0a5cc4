"""`netpod explain pod/NAME`: what the scheduler says of every node."""

from typing import TYPE_CHECKING, TypeVar

import click

from netpod.api.meta import Object
from netpod_cli import context, output

if TYPE_CHECKING:
    from netpod.scheduler.explain import Explanation

T = TypeVar("T", bound=Object)


def explain_pod(name: str, namespace: str) -> int:
    """Print filter and scores per node; 3 when no node fits."""
    from netpod.api import codec, registry
    from netpod.api.apps import ReplicaSet
    from netpod.api.core import Namespace
    from netpod.api.node import Node
    from netpod.api.pod import Pod
    from netpod.api.policy import PodDisruptionBudget
    from netpod.api.service import Service
    from netpod.api.storage import PersistentVolume, PersistentVolumeClaim, StorageClass
    from netpod.api.workloads import ReplicationController, StatefulSet
    from netpod.scheduler import explain

    client = context.api()
    pod = codec.decode(Pod, client.request("GET", registry.of(Pod).path(namespace, name)))

    def every(cls: type[T]) -> list[T]:
        items = client.request("GET", registry.of(cls).path())["items"] or ()
        return [codec.decode(cls, item) for item in items]

    found = explain.explain(
        pod,
        explain.World(
            nodes=every(Node),
            pods=every(Pod),
            namespaces=every(Namespace),
            claims=every(PersistentVolumeClaim),
            volumes=every(PersistentVolume),
            classes=every(StorageClass),
            budgets=every(PodDisruptionBudget),
            services=every(Service),
            sets=(*every(ReplicaSet), *every(StatefulSet), *every(ReplicationController)),
        ),
    )
    click.echo(to_text(found))
    click.echo("")
    click.echo(_sentence(pod.spec.node_name, found))
    return 0 if found.nodes and not found.nodes[0].plugin else 3


def to_text(found: "Explanation") -> str:
    """Lay an explanation out as a table: nodes that fit with their scores, then the others with reasons."""
    names = list(found.nodes[0].scores) if found.nodes else []
    rows = [["NODE", "FILTER", *names, *(["TOTAL"] if names else []), "REASON"]]
    for node in found.nodes:
        if node.plugin:
            cells = [node.node, node.plugin, *("-" for _ in names), *(["-"] if names else [])]
            rows.append([*cells, ", ".join(node.reasons)])
            continue
        scores = [str(node.scores[name]) for name in names]
        rows.append([node.node, "fits", *scores, str(node.total), ""])
    return output.columns(rows)


def _sentence(bound: str, found: "Explanation") -> str:
    if bound:
        said = f"The pod runs on {bound}"
        if found.chosen == bound:
            return f"{said}; the scheduler would choose it again."
        return f"{said}; of the cluster as it is now the scheduler would choose {found.chosen or 'none'}."
    if found.victims:
        gone = ", ".join(found.victims)
        return f"{found.message} Preemption clears {found.chosen} of {gone}."
    return found.message or f"The scheduler chooses {found.chosen}."
