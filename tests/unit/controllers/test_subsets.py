"""The legacy Endpoints object."""

from netpod.api.pod import ContainerPort
from netpod.api.service import ServicePort
from netpod.controllers import subsets
from tests.unit.controllers import builders


def test_ready_and_unready_pods_share_a_subset_and_terminating_ones_are_left_out() -> None:
    """What EndpointSlices keep with a condition, Endpoints can only leave out."""
    pods = [
        builders.pod("a", ip="10.244.1.3"),
        builders.pod("b", ip="10.244.1.2"),
        builders.pod("c", ip="10.244.1.4", ready=False),
        builders.pod("d", ip="10.244.1.5", terminating=True),
    ]
    (subset,) = subsets.pack(builders.service(), pods)
    assert [a.ip for a in subset.addresses] == ["10.244.1.2", "10.244.1.3"]
    assert [a.ip for a in subset.not_ready_addresses] == ["10.244.1.4"]
    assert (subset.ports[0].name, subset.ports[0].port) == ("http", 8080)


def test_pods_with_other_ports_are_another_subset() -> None:
    """A named port is resolved per pod; a pod without it serves nothing here."""
    service = builders.service(ports=(ServicePort(name="web", port=80, target_port="http"),))
    pods = [
        builders.pod("a", ports=(ContainerPort(name="http", container_port=9090),)),
        builders.pod("b", ports=(ContainerPort(name="http", container_port=8080),)),
        builders.pod("c"),
    ]
    assert [s.ports[0].port for s in subsets.pack(service, pods)] == [8080, 9090]


def test_equal_endpoints_are_not_written_again() -> None:
    """The second look at the same pods has nothing to write."""
    service = builders.service()
    first = subsets.endpoints(service, [builders.pod("a")], None, "")
    assert first is not None
    assert subsets.endpoints(service, [builders.pod("a")], first, "2026-01-01T12:00:00Z") is None


def test_more_than_1000_addresses_are_cut_and_it_is_said() -> None:
    """Unready addresses go first."""
    pods = [builders.pod(f"p{n}", ip=f"10.244.{n // 250}.{n % 250}") for n in range(999)]
    pods += [builders.pod(f"u{n}", ip=f"10.245.0.{n}", ready=False) for n in range(10)]
    found = subsets.endpoints(builders.service(), pods, None, "")
    assert found is not None
    (subset,) = found.subsets
    assert (len(subset.addresses), len(subset.not_ready_addresses)) == (999, 1)
    assert found.metadata.annotations["endpoints.kubernetes.io/over-capacity"] == "truncated"
