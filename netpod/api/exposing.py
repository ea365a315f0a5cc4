"""The Service that leads to a workload's pods, as `expose` makes it (pure). Objects are JSON values.

Source: k8s.io/kubectl pkg/cmd/expose/expose.go, pkg/polymorphichelpers mapbasedselectorforobject.go, portsforobject.go.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from netpod.errors import UsageError

Manifest = Mapping[str, Any]


def selector_of(obj: Manifest) -> dict[str, str]:
    """Return the labels by which a Service finds the pods of an object.

    Raises:
        UsageError: it has none, or selects by more than equal labels.
    """
    kind, spec = obj["kind"], obj.get("spec") or {}
    if kind == "Pod":
        labels = obj["metadata"].get("labels") or {}
        if not labels:
            raise UsageError("the pod has no labels and cannot be exposed")
        return dict(labels)
    if kind in ("Service", "ReplicationController"):
        if not spec.get("selector"):
            raise UsageError(f"the {kind.lower()} has no pod selector set")
        return dict(spec["selector"])
    if kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"):
        chosen = spec.get("selector") or {}
        if chosen.get("matchExpressions"):
            raise UsageError("couldn't convert expressions to a map-based selector format")
        return dict(chosen.get("matchLabels") or {})
    raise UsageError(f"cannot expose a {kind}")


def ports_of(obj: Manifest) -> list[tuple[int, str]]:
    """Return the ports, with their protocols, that an object's containers or Service declare."""
    spec = obj.get("spec") or {}
    if obj["kind"] == "Service":
        return [(p["port"], p.get("protocol", "TCP")) for p in spec.get("ports") or ()]
    pod = spec if obj["kind"] == "Pod" else spec.get("template", {}).get("spec", {})
    return [
        (port["containerPort"], port.get("protocol", "TCP"))
        for container in pod.get("containers") or ()
        for port in container.get("ports") or ()
    ]


def service(
    obj: Manifest,
    *,
    name: str = "",
    port: int | None = None,
    target_port: str = "",
    protocol: str = "",
    type_: str = "",
    cluster_ip: str = "",
    selector: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the Service.

    Args:
        obj: What to expose.
        name: Default: the object's.
        port: Default: all the ports that it declares.
        target_port: Number or name; default: the same port.
        protocol: Default: the declared one, or TCP.
        type_: ClusterIP unless said otherwise.
        cluster_ip: An address, or None for a headless Service.
        selector: Instead of the object's own.

    Raises:
        UsageError: no port is given or declared, or there is nothing to select by.
    """
    declared = ports_of(obj)
    if port is not None:
        known = next((p for number, p in declared if number == port), "TCP")
        wanted: Sequence[tuple[int, str]] = [(port, known)]
    else:
        wanted = declared
    if not wanted:
        raise UsageError("couldn't find port via --port flag or introspection")
    target: int | str = int(target_port) if target_port.isdigit() else target_port
    ports: list[dict[str, Any]] = []
    for index, (number, declared_protocol) in enumerate(wanted, 1):
        made = {
            "port": number,
            "protocol": protocol or declared_protocol,
            "targetPort": target or number,
        }
        ports.append({"name": f"port-{index}", **made} if len(wanted) > 1 else made)
    spec: dict[str, Any] = {"selector": dict(selector or selector_of(obj)), "ports": ports}
    if type_:
        spec["type"] = type_
    if cluster_ip:
        spec["clusterIP"] = cluster_ip
    about: dict[str, Any] = {"name": name or obj["metadata"]["name"]}
    if obj["metadata"].get("labels"):
        about["labels"] = obj["metadata"]["labels"]
    return {"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": spec}
