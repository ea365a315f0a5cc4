"""Objects become a routing, and what is wrong with them becomes problems."""

from collections.abc import Callable
from typing import Any

import pytest

from netpod.ingress import classes, merge
from netpod.ingress.model import Address, match

Build = Callable[..., Any]


def test_oldest_ingress_keeps_a_host_and_path(ingress: Build, ingress_class: Build) -> None:
    """On the same host and path the oldest creationTimestamp wins, and the younger is told."""
    old = ingress(("a.com", "Prefix", "/x", "old"), name="z", created="2025-01-01T00:00:00Z")
    new = ingress(("A.com", "Prefix", "/x/", "new"), ("a.com", "Prefix", "/y", "new"), name="a")
    routing = merge.merge([new, old], [ingress_class()], [], [])
    rule, other = match(routing, "a.com", "/x"), match(routing, "a.com", "/y")
    assert rule is not None
    assert other is not None
    assert (rule.target.service, other.target.service) == ("old", "new")
    (problem,) = [p for p in routing.problems if p.reason == "DuplicatePath"]
    assert problem.ingress.name == "a"
    assert "default/z" in problem.message


def test_port_by_name_and_by_number(ingress: Build, ingress_class: Build, service: Build) -> None:
    """A named port is the Service's port of that name; HAProxy goes to the cluster IP and the Service port."""
    web = service("web", ports=(("http", 8000), ("admin", 9000)))
    named = ingress(("a.com", "Prefix", "/", "web"), name="a", port="admin")
    numbered = ingress(("b.com", "Prefix", "/", "web"), name="b", port=8000)
    routing = merge.merge([named, numbered], [ingress_class()], [web], [])
    found = {target.port: backend.addresses for target, backend in routing.backends.items()}
    assert found == {
        "admin": (Address(ip="10.96.0.20", port=9000),),
        "8000": (Address(ip="10.96.0.20", port=8000),),
    }


def test_annotation_sends_to_ready_endpoints(
    ingress: Build, ingress_class: Build, service: Build, endpoint_slice: Build
) -> None:
    """With netpod.dev/upstream: endpoints the addresses are the ready pods and their own port."""
    one = ingress(("a.com", "Prefix", "/", "web"), annotations={"netpod.dev/upstream": "endpoints"})
    slices = [endpoint_slice("web", "10.244.1.5", "10.244.2.5")]
    routing = merge.merge([one], [ingress_class()], [service("web")], slices)
    (backend,) = routing.backends.values()
    assert backend.addresses == (
        Address(ip="10.244.1.5", port=8080),
        Address(ip="10.244.2.5", port=8080),
    )
    assert backend.why == ""


def test_headless_service_is_reached_at_its_endpoints(
    ingress: Build, ingress_class: Build, service: Build, endpoint_slice: Build
) -> None:
    """A headless Service has no cluster IP to send to."""
    one = ingress(("a.com", "Prefix", "/", "web"))
    headless = service("web", cluster_ip="None")
    slices = [endpoint_slice("web", "10.244.1.5")]
    routing = merge.merge([one], [ingress_class()], [headless], slices)
    (backend,) = routing.backends.values()
    assert backend.addresses == (Address(ip="10.244.1.5", port=8080),)


def test_unready_endpoints_are_named_as_the_reason(
    ingress: Build, ingress_class: Build, service: Build, endpoint_slice: Build
) -> None:
    """A Service without ready endpoints keeps its cluster IP, and the 503 page can say why it refuses."""
    one = ingress(("a.com", "Prefix", "/", "web"))
    slices = [endpoint_slice("web", "10.244.1.5", ready=False)]
    routing = merge.merge([one], [ingress_class()], [service("web")], slices)
    (backend,) = routing.backends.values()
    assert backend.addresses == (Address(ip="10.96.0.20", port=80),)
    assert backend.why == "Service default/web has no ready endpoints"
    assert routing.problems == ()


@pytest.mark.parametrize(
    ("port", "kind", "why"),
    [
        (81, "ClusterIP", "Service default/web has no TCP port 81"),
        (80, "ExternalName", "Service default/web is of type ExternalName"),
    ],
)
def test_unusable_service_is_a_problem(
    ingress: Build, ingress_class: Build, service: Build, port: int, kind: str, why: str
) -> None:
    """The Ingress is told, and its rule stays: requests get 503, not 404."""
    one = ingress(("a.com", "Prefix", "/", "web"), port=port)
    routing = merge.merge([one], [ingress_class()], [service("web", type=kind)], [])
    assert match(routing, "a.com", "/") is not None
    assert [(p.reason, p.message.startswith(why)) for p in routing.problems] == [
        ("BackendNotFound", True)
    ]


def test_path_that_cannot_match_is_left_out(ingress: Build, ingress_class: Build) -> None:
    """A path with a blank never arrives in a request, and would break the line of a map file."""
    one = ingress(("a.com", "Prefix", "/a b", "web"), ("a.com", "Exact", "/c", "web"))
    routing = merge.merge([one], [ingress_class()], [], [])
    assert "InvalidPath" in [p.reason for p in routing.problems]
    assert list(routing.sites["a.com"].prefix) == []
    assert list(routing.sites["a.com"].exact) == ["/c"]


@pytest.mark.parametrize(
    ("name", "annotation", "default", "ours"),
    [
        ("netpod", None, False, True),
        ("nginx", None, True, False),
        ("unknown", None, True, False),
        (None, None, True, True),
        (None, None, False, False),
        (None, "netpod", False, True),
        (None, "nginx", True, False),
    ],
)
def test_class_decides_who_serves(
    ingress: Build,
    ingress_class: Build,
    name: str | None,
    annotation: str | None,
    default: bool,
    ours: bool,
) -> None:
    """Only Ingresses of a class that names our controller are served; without class, when ours is the default."""
    known = [ingress_class(default=default), ingress_class("nginx", controller="k8s.io/nginx")]
    marks = {"kubernetes.io/ingress.class": annotation} if annotation else {}
    one = ingress(("a.com", "Prefix", "/", "web"), class_name=name, annotations=marks)
    assert classes.served(one, known) is ours
