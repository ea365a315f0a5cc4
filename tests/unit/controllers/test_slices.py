"""EndpointSlices: what a pod is as an endpoint, and how few writes a change costs."""

import dataclasses
from collections.abc import Iterable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from netpod.api.discovery import EndpointSlice
from netpod.api.pod import Container, ContainerPort, Pod, PodSpec
from netpod.api.pod_status import PodIP
from netpod.api.service import Service, ServicePort
from netpod.controllers import slices
from netpod.controllers.slices import Plan
from tests.unit.controllers import builders

NODES = {"worker": builders.node(), "worker2": builders.node("worker2", zone="b")}


def plan(
    service: Service,
    pods: Iterable[Pod],
    existing: Sequence[EndpointSlice] = (),
    *,
    trigger: str = "",
    limit: int = 100,
) -> Plan:
    """Return the writes for these pods."""
    return slices.plan(service, slices.endpoints(service, pods, NODES), existing, trigger, limit)


def stored(plan: Plan, existing: Sequence[EndpointSlice] = ()) -> list[EndpointSlice]:
    """Return what the API server has after a plan."""
    after = {item.metadata.name: item for item in existing}
    for item in plan.delete:
        del after[item.metadata.name]
    for item in plan.update:
        after[item.metadata.name] = item
    for item in plan.create:
        name = f"{item.metadata.generate_name}{len(after):05}"
        about = dataclasses.replace(item.metadata, name=name, generate_name="")
        after[name] = dataclasses.replace(item, metadata=about)
    return list(after.values())


def many(count: int) -> list[Pod]:
    """Return that many ready pods."""
    return [builders.pod(f"p{n:04}", ip=f"10.244.{n // 250}.{n % 250 + 2}") for n in range(count)]


def test_service_without_pods_has_one_placeholder() -> None:
    """No endpoints is known, not unknown: one slice without endpoints and ports."""
    service = builders.service()
    first = plan(service, [])
    (only,) = first.create
    assert (only.endpoints, only.ports, only.address_type) == ((), (), "IPv4")
    assert plan(service, [], stored(first)) == Plan()


def test_placeholder_is_reused_for_the_first_pod() -> None:
    """One update, and no second slice."""
    service = builders.service()
    existing = stored(plan(service, []))
    found = plan(service, [builders.pod("a")], existing)
    assert (len(found.create), len(found.update), len(found.delete)) == (0, 1, 0)
    assert found.update[0].metadata.name == existing[0].metadata.name
    assert found.update[0].ports[0].port == 8080


def test_conditions_tell_ready_serving_and_terminating() -> None:
    """A terminating pod that still passes its probe serves, but is not ready."""
    service = builders.service()
    for pod, expected in [
        (builders.pod("a"), (True, True, False)),
        (builders.pod("a", ready=False), (False, False, False)),
        (builders.pod("a", terminating=True), (False, True, True)),
        (builders.pod("a", terminating=True, ready=False), (False, False, True)),
    ]:
        (endpoint,) = plan(service, [pod]).create[0].endpoints
        c = endpoint.conditions
        assert (c.ready, c.serving, c.terminating) == expected


def test_publish_not_ready_addresses_makes_everything_ready() -> None:
    """`ready` is true even for a pod that is not; `serving` and `terminating` still tell the truth."""
    service = builders.service(publish_not_ready=True)
    pods = [builders.pod("a", ready=False, terminating=True), builders.pod("b", node="gone")]
    found = plan(service, pods).create[0].endpoints
    assert [e.conditions.ready for e in found] == [True, True]
    assert (found[0].conditions.serving, found[0].conditions.terminating) == (False, True)


def test_finished_unaddressed_and_homeless_pods_are_no_endpoints() -> None:
    """Succeeded or Failed, without an address, or on a node nobody knows."""
    pods = [
        builders.pod("done", phase="Succeeded"),
        builders.pod("failed", phase="Failed"),
        builders.pod("new", ip=""),
        builders.pod("lost", node="gone"),
    ]
    assert plan(builders.service(), pods).create[0].endpoints == ()


def test_named_target_port_is_resolved_per_pod() -> None:
    """Pods that give the name another number go to another slice, and one that lacks it to a third."""
    service = builders.service(ports=(ServicePort(name="web", port=80, target_port="http"),))
    old = ContainerPort(name="http", container_port=8080, protocol="TCP")
    new = ContainerPort(name="http", container_port=9090, protocol="TCP")
    udp = ContainerPort(name="http", container_port=9090, protocol="UDP")
    pods = [
        builders.pod("a", ip="10.244.1.2", ports=(old,)),
        builders.pod("b", ip="10.244.1.3", ports=(new,)),
        builders.pod("c", ip="10.244.1.4", ports=(udp,)),
    ]
    found = {tuple(p.port for p in item.ports) for item in plan(service, pods).create}
    assert found == {(8080,), (9090,), ()}


def test_endpoint_says_who_and_where_it_is() -> None:
    """Node, zone, pod, and the host name only below the Service that is the pod's subdomain."""
    spec = PodSpec(
        node_name="worker2",
        hostname="db-0",
        subdomain="web",
        containers=(Container(name="c"),),
    )
    (endpoint,) = plan(builders.service(), [builders.pod("a", spec=spec)]).create[0].endpoints
    assert (endpoint.node_name, endpoint.zone, endpoint.hostname) == ("worker2", "b", "db-0")
    assert endpoint.target_ref is not None
    assert (endpoint.target_ref.kind, endpoint.target_ref.uid) == ("Pod", "uid-a")
    elsewhere = dataclasses.replace(spec, subdomain="other")
    (endpoint,) = plan(builders.service(), [builders.pod("a", spec=elsewhere)]).create[0].endpoints
    assert endpoint.hostname is None


def test_labels_are_the_services_and_ours_and_reserved_ones_are_not_copied() -> None:
    """A Service cannot claim its slices for another controller; a headless one is marked."""
    labels = {"team": "a", slices.MANAGED_BY: "me", slices.SERVICE_NAME: "other"}
    service = builders.service(labels=labels, cluster_ip="None")
    (item,) = plan(service, []).create
    assert item.metadata.labels == {
        "team": "a",
        slices.SERVICE_NAME: "web",
        slices.MANAGED_BY: slices.MANAGER,
        "service.kubernetes.io/headless": "",
    }
    assert item.metadata.owner_references[0].uid == "uid-web"
    assert item.metadata.generate_name == "web-"


def test_label_change_rewrites_slices_without_touching_endpoints() -> None:
    """The slices follow the Service's labels."""
    existing = stored(plan(builders.service(), many(2)))
    found = plan(builders.service(labels={"team": "b"}), many(2), existing)
    assert len(found.update) == 1
    assert found.update[0].endpoints == existing[0].endpoints


def test_250_pods_fill_three_slices_and_one_more_costs_one_write() -> None:
    """At most 100 endpoints per slice; a new one goes where there is room."""
    service = builders.service()
    existing = stored(plan(service, many(250)))
    assert sorted(len(item.endpoints) for item in existing) == [50, 100, 100]
    found = plan(service, many(251), existing)
    assert (len(found.create), len(found.update), len(found.delete)) == (0, 1, 0)
    assert len(found.update[0].endpoints) == 51


def test_readiness_flip_rewrites_only_its_own_slice() -> None:
    """The endpoint stays at its place in its slice."""
    service = builders.service()
    pods = many(250)
    existing = stored(plan(service, pods))
    pods[120] = dataclasses.replace(builders.pod("p0120", ip=pods[120].status.pod_ip, ready=False))
    found = plan(service, pods, existing, trigger="2026-01-01T12:00:00Z")
    (item,) = found.update
    assert (found.create, found.delete) == ((), ())
    assert [e.conditions.ready for e in item.endpoints].count(False) == 1
    assert (
        item.metadata.annotations["endpoints.kubernetes.io/last-change-trigger-time"]
        == "2026-01-01T12:00:00Z"
    )


def test_equal_slices_are_not_written_again() -> None:
    """A restart, with the same pods in another order, changes nothing."""
    service = builders.service()
    existing = stored(plan(service, many(230)))
    assert plan(service, reversed(many(230)), existing, trigger="2026-01-01T12:00:00Z") == Plan()


def test_dual_stack_has_slices_per_family() -> None:
    """Each family has its own slices, the one without addresses a placeholder."""
    service = builders.service(families=("IPv4", "IPv6"))
    pod = builders.pod("a")
    both = (PodIP(ip="10.244.1.2"), PodIP(ip="FD00:0::2"))
    dual = dataclasses.replace(pod, status=dataclasses.replace(pod.status, pod_ips=both))
    found = {item.address_type: item.endpoints for item in plan(service, [dual]).create}
    assert found["IPv6"][0].addresses == ("fd00::2",)
    single = {item.address_type: item.endpoints for item in plan(service, [pod]).create}
    assert single["IPv6"] == ()


def test_prefer_close_hints_the_endpoints_own_zone() -> None:
    """Every ready endpoint is meant for its own zone; one without a zone for nobody in particular."""
    service = builders.service(traffic_distribution="PreferClose")
    pods = [builders.pod("a", node="worker2"), builders.pod("b", ip="10.244.1.3")]
    found = plan(service, pods).create[0].endpoints
    assert found[0].hints is not None
    assert found[0].hints.for_zones[0].name == "b"
    assert found[1].hints is None


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rounds=st.lists(st.sets(st.integers(0, 40), max_size=40), min_size=1, max_size=6),
    limit=st.integers(1, 9),
)
def test_slices_always_hold_exactly_the_pods(rounds: list[set[int]], limit: int) -> None:
    """Whatever comes and goes: every pod once, no slice too full, and a second look writes nothing."""
    service = builders.service()
    pods = many(41)
    existing: list[EndpointSlice] = []
    for chosen in rounds:
        here = [pods[n] for n in sorted(chosen)]
        existing = stored(plan(service, here, existing, limit=limit), existing)
        held = [e.addresses[0] for item in existing for e in item.endpoints]
        assert sorted(held) == sorted(p.status.pod_ip for p in here)
        assert all(len(item.endpoints) <= limit for item in existing)
        assert existing
        assert plan(service, here, existing, limit=limit) == Plan()
