"""A cluster, or one Service's or Ingress' way, as a graph, and its texts for Mermaid and Graphviz (pure).

Nodes of the cluster are boxes with their pods inside; edges say what leads where: outside to edge, edge to nodes,
Ingress to Service, Service to the pods behind it.

Source: Mermaid's flowchart syntax; Graphviz' dot language.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netpod.errors import NotFound

Json = Mapping[str, Any]
SERVICE_NAME = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vertex:
    """One thing.

    Attributes:
        id: Letters, digits and underscores.
        kind: outside, edge, node, pod, service or ingress.
        state: good, wait or bad.
        inside: Id of the node that a pod is on.
        owner: Name of what a pod belongs to, without the hash of a ReplicaSet; "" for none.
        network: A node's pods' CIDR.
    """

    id: str
    kind: str
    name: str
    sub: str = ""
    state: str = "good"
    inside: str = ""
    owner: str = ""
    network: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """From one vertex to another; `certain` is false for an endpoint that is not ready."""

    source: str
    target: str
    label: str = ""
    certain: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """What is drawn, in its order."""

    title: str
    vertices: tuple[Vertex, ...] = ()
    edges: tuple[Edge, ...] = ()

    def of(self, *kinds: str) -> list[Vertex]:
        """Vertices of these kinds."""
        return [vertex for vertex in self.vertices if vertex.kind in kinds]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """Lists of the API's objects as plain JSON values."""

    nodes: Sequence[Json] = ()
    pods: Sequence[Json] = ()
    services: Sequence[Json] = ()
    slices: Sequence[Json] = ()
    ingresses: Sequence[Json] = ()


def compile(objects: Objects, kind: str = "", namespace: str = "", name: str = "") -> Graph:
    """Return the graph of a cluster, or of one Service (`kind` service) or Ingress (`ingress`).

    Raises:
        NotFound: there is no such object.
    """
    behind = _endpoints(objects.slices)
    services = {_key(s): s for s in objects.services}
    ingresses = {_key(i): i for i in objects.ingresses}
    wanted = f"{namespace}/{name}"
    title = f"{kind} {wanted}" if kind else "cluster"
    if kind and wanted not in (services if kind == "service" else ingresses):
        raise NotFound(f'{kind}s "{name}" not found in namespace {namespace}')
    if kind == "service":
        services = {wanted: services[wanted]}
        ingresses = {k: i for k, i in ingresses.items() if wanted in _backends(i)}
    elif kind == "ingress":
        ingresses = {wanted: ingresses[wanted]}
        services = {k: s for k, s in services.items() if k in _backends(ingresses[wanted])}
    shown = {pod for key in services for pod in behind.get(key, {})}
    pods = [p for p in objects.pods if not _ended(p) and (not kind or _key(p) in shown)]
    hosts = {p["spec"].get("nodeName", "") for p in pods}
    nodes = [n for n in objects.nodes if not kind or n["metadata"]["name"] in hosts]
    vertices = [
        Vertex(id="at_outside", kind="outside", name="outside", sub="the client"),
        Vertex(id="at_edge", kind="edge", name="edge", sub=_vips(objects.services)),
        *(_ingress(i) for i in ingresses.values()),
        *(_service(s, behind) for s in services.values()),
        *(_node(n) for n in nodes),
        *(_pod(p) for p in pods),
    ]
    known = {vertex.id for vertex in vertices}
    edges = [Edge(source="at_outside", target="at_edge")]
    edges += [Edge(source="at_edge", target=_id("node", n["metadata"]["name"])) for n in nodes]
    for key, ingress in ingresses.items():
        for backend, hosts_of in _backends(ingress).items():
            label = ", ".join(hosts_of)
            edges.append(
                Edge(source=_id("ingress", key), target=_id("service", backend), label=label)
            )
    for key in services:
        for pod, ready in behind.get(key, {}).items():
            edges.append(Edge(source=_id("service", key), target=_id("pod", pod), certain=ready))
    kept = tuple(e for e in edges if e.source in known and e.target in known)
    return Graph(title=title, vertices=tuple(vertices), edges=kept)


def _endpoints(slices: Iterable[Json]) -> dict[str, dict[str, bool]]:
    """Whether each pod behind a Service is ready, by Service."""
    found: dict[str, dict[str, bool]] = {}
    for piece in slices:
        service = (piece["metadata"].get("labels") or {}).get(SERVICE_NAME)
        for endpoint in (piece.get("endpoints") or ()) if service else ():
            target = endpoint.get("targetRef") or {}
            if target.get("kind") == "Pod":
                pods = found.setdefault(f"{piece['metadata']['namespace']}/{service}", {})
                ready = (endpoint.get("conditions") or {}).get("ready", True)
                pods[f"{target['namespace']}/{target['name']}"] = ready
    return found


def _backends(ingress: Json) -> dict[str, list[str]]:
    """Hosts and paths by Service."""
    found: dict[str, list[str]] = {}
    namespace, spec = ingress["metadata"]["namespace"], ingress.get("spec") or {}
    if (default := (spec.get("defaultBackend") or {}).get("service")) is not None:
        found.setdefault(f"{namespace}/{default['name']}", []).append("default")
    for rule in spec.get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            service = (path.get("backend") or {}).get("service")
            if service:
                place = f"{rule.get('host') or '*'}{path.get('path') or '/'}"
                found.setdefault(f"{namespace}/{service['name']}", []).append(place)
    return found


def _vips(services: Iterable[Json]) -> str:
    vips = [
        item["ip"]
        for service in services
        for item in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        if item.get("ip")
    ]
    return f"VIP {', '.join(vips)}" if vips else "load balancer"


def _ingress(obj: Json) -> Vertex:
    hosts = [rule.get("host") or "*" for rule in (obj.get("spec") or {}).get("rules") or ()]
    name = obj["metadata"]["name"]
    return Vertex(id=_id("ingress", _key(obj)), kind="ingress", name=name, sub=", ".join(hosts))


def _service(obj: Json, behind: Mapping[str, Mapping[str, bool]]) -> Vertex:
    spec = obj["spec"]
    kind = "" if spec.get("type") == "ClusterIP" else f"{spec.get('type')} "
    empty = spec.get("selector") and not any(behind.get(_key(obj), {}).values())
    return Vertex(
        id=_id("service", _key(obj)),
        kind="service",
        name=obj["metadata"]["name"],
        sub=kind + str(spec.get("clusterIP") or spec.get("externalName") or ""),
        state="bad" if empty else "good",
    )


def _node(obj: Json) -> Vertex:
    status = obj.get("status") or {}
    ip = next(
        (a["address"] for a in status.get("addresses") or () if a["type"] == "InternalIP"), ""
    )
    name = obj["metadata"]["name"]
    state = "good" if _condition(status) else "bad"
    network = str((obj.get("spec") or {}).get("podCIDR") or "")
    return Vertex(
        id=_id("node", name), kind="node", name=name, sub=ip, state=state, network=network
    )


def _pod(obj: Json) -> Vertex:
    status = obj.get("status") or {}
    ready = _condition(status)
    started = status.get("phase") == "Running" and not obj["metadata"].get("deletionTimestamp")
    return Vertex(
        id=_id("pod", _key(obj)),
        kind="pod",
        name=obj["metadata"]["name"],
        sub=status.get("podIP") or status.get("phase") or "Pending",
        state="good" if ready and started else "wait",
        inside=_id("node", obj["spec"]["nodeName"]) if obj["spec"].get("nodeName") else "",
        owner=_owner(obj),
    )


def _owner(pod: Json) -> str:
    owners = pod["metadata"].get("ownerReferences") or ()
    found: Json = next((it for it in owners if it.get("controller")), {})
    name = str(found.get("name", ""))
    return name.rpartition("-")[0] or name if found.get("kind") == "ReplicaSet" else name


def _condition(status: Json) -> bool:
    found = status.get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in found)


def _ended(pod: Json) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _key(obj: Json) -> str:
    return f"{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"


def _id(kind: str, name: str) -> str:
    """Unique, and a plain word in every language: what is no letter or digit is its number."""
    return f"{kind}_" + "".join(c if c.isalnum() and c.isascii() else f"_{ord(c):x}_" for c in name)


def to_mermaid(graph: Graph) -> str:
    """Return the graph as a Mermaid flowchart."""
    lines = ["flowchart TB", f"  %% netpod: {_plain(graph.title)}"]
    shapes = {"service": ("([", "])"), "ingress": ("{{", "}}")}
    for vertex in graph.vertices:
        if vertex.kind in ("node", "pod") and (vertex.kind == "node" or vertex.inside):
            continue
        left, right = shapes.get(vertex.kind, ("[", "]"))
        lines.append(f"  {vertex.id}{left}{_mermaid(vertex)}{right}")
    for node in graph.of("node"):
        lines.append(f"  subgraph {node.id}[{_mermaid(node)}]")
        lines += [f"    {p.id}[{_mermaid(p)}]" for p in graph.of("pod") if p.inside == node.id]
        lines.append("  end")
    for edge in graph.edges:
        arrow = "-->" if edge.certain else "-.->"
        label = f'|"{_entities(edge.label)}"|' if edge.label else ""
        lines.append(f"  {edge.source} {arrow}{label} {edge.target}")
    for state, colour in (("wait", "#fdf1d7"), ("bad", "#fde7e5")):
        chosen = [v.id for v in graph.vertices if v.state == state]
        if chosen:
            lines += [f"  classDef {state} fill:{colour}", f"  class {','.join(chosen)} {state}"]
    return "\n".join(lines)


def _mermaid(vertex: Vertex) -> str:
    return f'"{_entities(vertex.name)}<br/>{_entities(vertex.sub)}"'


def _entities(text: str) -> str:
    """Mermaid's entities: a number sign, the code, a semicolon."""
    return "".join(c if c.isalnum() or c in " .,:/-_*" else f"#{ord(c)};" for c in text)


def _plain(text: str) -> str:
    return " ".join(text.split())


def to_dot(graph: Graph) -> str:
    """Return the graph in Graphviz' language."""
    shapes = {"service": "ellipse", "ingress": "hexagon"}
    colours = {"good": "#e2f4e8", "wait": "#fdf1d7", "bad": "#fde7e5"}

    def vertex(each: Vertex) -> str:
        shape, colour = shapes.get(each.kind, "box"), colours[each.state]
        label = _dot(f"{each.name}\n{each.sub}")
        return f'{each.id} [label={label} shape={shape} style=filled fillcolor="{colour}"];'

    lines = [f"digraph {_dot(graph.title)} {{", "  compound=true; node [fontname=sans];"]
    lines += [f"  {vertex(v)}" for v in graph.vertices if v.kind != "node" and not v.inside]
    for node in graph.of("node"):
        lines.append(f"  subgraph cluster_{node.id} {{ label={_dot(f'{node.name} {node.sub}')};")
        # An edge needs a vertex to end at; a cluster is none.
        lines.append(f"    {node.id} [shape=point label={_dot('')}];")
        lines += [f"    {vertex(p)}" for p in graph.of("pod") if p.inside == node.id]
        lines.append("  }")
    for edge in graph.edges:
        style = "solid" if edge.certain else "dashed"
        lines.append(f"  {edge.source} -> {edge.target} [label={_dot(edge.label)} style={style}];")
    return "\n".join([*lines, "}"])


def _dot(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
