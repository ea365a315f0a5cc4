"""Pictures of the cluster as text: what is in them, and that no name can break out of them."""

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from netpod.dashboard import graph, graphsvg
from netpod.dashboard.graph import Graph, Objects
from netpod.errors import NotFound

READY = [{"type": "Ready", "status": "True"}]
EVIL = '</text><script>alert("x")</script>\\"'


def _pod(name: str, node: str, ip: str, *, ready: bool = True) -> dict[str, Any]:
    status = {"phase": "Running", "podIP": ip, "conditions": READY if ready else []}
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"nodeName": node},
        "status": status,
    }


def _service(name: str) -> dict[str, Any]:
    spec = {"type": "ClusterIP", "clusterIP": "10.96.0.9", "selector": {"app": name}}
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def _slice(service: str, **pods: bool) -> dict[str, Any]:
    endpoints = [
        {
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": pod},
            "conditions": {"ready": ready},
        }
        for pod, ready in pods.items()
    ]
    labels = {"kubernetes.io/service-name": service}
    metadata = {"name": "s", "namespace": "shop", "labels": labels}
    return {"metadata": metadata, "endpoints": endpoints}


def _ingress(*services: str) -> dict[str, Any]:
    paths = [{"path": f"/{s}", "backend": {"service": {"name": s}}} for s in services]
    rules = [{"host": EVIL, "http": {"paths": paths}}]
    return {"metadata": {"name": "front", "namespace": "shop"}, "spec": {"rules": rules}}


NODES = [
    {
        "metadata": {"name": name},
        "status": {"conditions": READY, "addresses": [{"type": "InternalIP", "address": ip}]},
    }
    for name, ip in (("n1", "172.18.0.3"), ("n2", "172.18.0.4"))
]
OBJECTS = Objects(
    nodes=NODES,
    pods=[_pod("a", "n1", "10.244.1.2"), _pod("b", "n2", "10.244.2.2", ready=False)],
    services=[_service("web"), _service("other")],
    slices=[_slice("web", a=True, b=False)],
    ingresses=[_ingress("web")],
)


def _names(found: Graph, kind: str) -> list[str]:
    return [vertex.name for vertex in found.of(kind)]


def test_the_whole_cluster_is_drawn() -> None:
    """Every object is a vertex; an endpoint that is not ready is an uncertain edge; a Service with none is bad."""
    found = graph.compile(OBJECTS)
    assert _names(found, "node") == ["n1", "n2"]
    assert {v.name: v.state for v in found.of("service")} == {"web": "good", "other": "bad"}
    assert {v.name: v.state for v in found.of("pod")} == {"a": "good", "b": "wait"}
    assert [e.certain for e in found.edges if e.source.startswith("service")] == [True, False]


def test_one_service_is_drawn_with_what_leads_to_it_and_what_is_behind() -> None:
    """Other Services are not in the picture, nor nodes without a pod of it."""
    found = graph.compile(OBJECTS, "service", "shop", "web")
    assert _names(found, "service") == ["web"]
    assert _names(found, "ingress") == ["front"]
    found = graph.compile(OBJECTS, "service", "shop", "other")
    assert _names(found, "ingress") == _names(found, "node") == []
    with pytest.raises(NotFound, match='"gone" not found in namespace shop'):
        graph.compile(OBJECTS, "service", "shop", "gone")


def test_svg_is_well_formed_whatever_names_say() -> None:
    """A host with markup and quotes in it stays text."""
    for found in (graph.compile(OBJECTS), graph.compile(Objects())):
        root = ET.fromstring(graphsvg.to_svg(found))
        assert not [e for e in root.iter() if e.tag.endswith("script")]
    page = graphsvg.to_html(graph.compile(OBJECTS))
    assert "<script" not in page


def test_mermaid_and_dot_quote_what_is_theirs() -> None:
    """No quote and no bracket of a name is left in a label; identifiers are plain words."""
    found = graph.compile(OBJECTS, "ingress", "shop", "front")
    text = graph.to_mermaid(found)
    assert "<script" not in text
    assert "subgraph node_n1[" in text
    for label in re.findall(r'"((?:[^"\\]|\\.)*)"', text):
        assert not set(label.replace("<br/>", "")) & set("<>[]{}")
    dot = graph.to_dot(found)
    assert '\\"x\\"' in dot
    assert dot.count("{") == dot.count("}")
    assert all(re.fullmatch(r"\w+", vertex.id) for vertex in found.vertices)


def test_the_picture_names_pods_as_the_page_does() -> None:
    """What a pod belongs to and its own end; the node's bridge with its network."""
    pod = _pod("example-app-7b6995cfc4-bndcc", "n1", "10.244.1.2")
    owner = {"kind": "ReplicaSet", "name": "example-app-7b6995cfc4", "controller": True}
    pod["metadata"]["ownerReferences"] = [owner]
    node = {**NODES[0], "spec": {"podCIDR": "10.244.1.0/24"}}
    picture = graphsvg.to_svg(graph.compile(Objects(nodes=[node], pods=[pod])))
    texts = [text.text for text in ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]
    assert "example-app bndcc" in texts
    assert "cni0 10.244.1.0/24" in texts
