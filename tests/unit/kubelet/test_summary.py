"""What a node says it uses, from two readings of counters."""

from datetime import UTC, datetime, timedelta

import pytest

from netpod import metrics
from netpod.api.cri import ContainerStats
from netpod.kubelet import exposition, summary
from netpod.kubelet.summary import RunningContainer, RunningPod, Sample
from netpod.linux.usage import Traffic

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(seconds=10)
POD = RunningPod(
    namespace="shop",
    name="web-1",
    uid="u1",
    started_at="2026-01-01T00:00:00Z",
    link="veth1",
    containers=[
        RunningContainer(name="web", id="c1", image="nginx", started_at="2026-01-01T00:00:05Z")
    ],
)


def _sample(at: datetime, cpu: int, **traffic: Traffic) -> Sample:
    stats = ContainerStats(id="c1", cpu=cpu, memory=4 << 20, resident=9 << 20, processes=2)
    return Sample(at=at, containers={"c1": stats}, traffic=traffic)


def test_usage_is_the_rate_since_the_sample_before() -> None:
    """A second of processor time in ten is a tenth of a core."""
    before, now = _sample(START, 5_000_000_000), _sample(LATER, 6_000_000_000)
    told = summary.compile("n", before, now, [POD])["pods"][0]
    assert told["cpu"]["usageNanoCores"] == 100_000_000
    assert told["containers"][0]["cpu"]["usageCoreNanoSeconds"] == 6_000_000_000


def test_a_new_container_counts_from_its_start() -> None:
    """Half a second of processor time in the five seconds of its life."""
    before = Sample(at=START)
    told = summary.compile("n", before, _sample(LATER, 500_000_000), [POD])["pods"][0]
    assert told["containers"][0]["cpu"]["usageNanoCores"] == 100_000_000


def test_time_that_went_with_a_child_is_no_negative_usage() -> None:
    """A counter that went back reads as nothing used."""
    before, now = _sample(START, 2_000_000_000), _sample(LATER, 1_000_000_000)
    told = summary.compile("n", before, now, [POD])["pods"][0]
    assert told["cpu"]["usageNanoCores"] == 0


def test_a_pod_receives_what_its_link_on_the_node_sends() -> None:
    """The node's end of a veth pair counts the other way round."""
    link = Traffic(rx_bytes=1, rx_dropped=3, tx_bytes=2, tx_packets=7)
    told = summary.compile("n", None, _sample(LATER, 0, veth1=link), [POD])["pods"][0]
    assert (told["network"]["rxBytes"], told["network"]["txBytes"]) == (2, 1)
    assert (told["network"]["rxPackets"], told["network"]["txDropped"]) == (7, 3)
    assert told["network"]["name"] == "eth0"


def test_the_node_adds_up_pods_node_process_and_shim() -> None:
    """Whatever runs for the node is in its figures; pods' links are not among its own."""
    now = Sample(
        at=LATER,
        containers={"c1": ContainerStats(id="c1", memory=4), "": ContainerStats(memory=30)},
        kubelet=ContainerStats(memory=200),
        traffic={"veth1": Traffic(), "cni0": Traffic(), "eth0": Traffic(rx_bytes=9)},
    )
    node = summary.compile("n", None, now, [POD], memory_available=77)["node"]
    assert node["memory"]["workingSetBytes"] == 234
    assert node["memory"]["availableBytes"] == 77
    assert [link["name"] for link in node["network"]["interfaces"]] == ["cni0", "eth0"]
    assert node["network"]["rxBytes"] == 9


@pytest.mark.parametrize(
    ("part", "line"),
    [
        (exposition.resource, 'pod_memory_working_set_bytes{namespace="shop",pod="web-1"}'),
        (exposition.resource, "node_cpu_usage_seconds_total"),
        (exposition.cadvisor, 'container_cpu_usage_seconds_total{container="web",cpu="total"'),
        (exposition.cadvisor, 'container_network_receive_packets_dropped_total{id="/netpod/u1"'),
        (lambda told: exposition.kubelet(told, "v1"), "kubelet_running_pods 1.0"),
    ],
)
def test_metrics_have_upstreams_names(part: object, line: str) -> None:
    """Dashboards made for a cluster find their series."""
    now = _sample(LATER, 1, veth1=Traffic())
    assert callable(part)
    text = metrics.text(part(summary.compile("n", None, now, [POD]))).decode()
    assert line in text
