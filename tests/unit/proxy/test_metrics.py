"""What a proxy counts, and the names under which it says so."""

import dataclasses
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from netpod.api.discovery import EndpointSlice
from netpod.ip import Family
from netpod.proxy import exposition, metrics, model
from netpod.proxy.metrics import Metrics
from tests.unit.proxy.builders import endpoint_slice, entry, port, service


def samples(text: bytes) -> dict[str, float]:
    """Value by name with labels; those without another family are IPv4's."""
    return {
        sample.name
        + "".join(
            f" {k}={v}" for k, v in sorted(sample.labels.items()) if v != "IPv4"
        ): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def told(counted: Metrics, **further: Any) -> bytes:
    """The text of one family alone."""
    return exposition.text([exposition.Share(counted=counted, **further)])


def changed_at(text: str) -> EndpointSlice:
    """A slice whose cause happened then."""
    made = endpoint_slice([entry("10.244.1.5")])
    annotations = {metrics.LAST_CHANGE_TRIGGER_TIME: text}
    return dataclasses.replace(
        made, metadata=dataclasses.replace(made.metadata, annotations=annotations)
    )


def test_a_sync_takes_what_was_pending() -> None:
    """Changes are pending until a sync succeeded; totals only grow; failures are told apart."""
    counted = Metrics(lambda: 1000.0)
    counted.service_changed()
    counted.slice_changed(None)
    counted.slice_changed(changed_at("nonsense"))
    counted.failed("iptables_restore")
    before = samples(told(counted))
    assert before["kubeproxy_sync_proxy_rules_endpoint_changes_pending"] == 2
    assert before["kubeproxy_sync_proxy_rules_service_changes_pending"] == 1
    assert before["kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds"] == 1000
    assert before["kubeproxy_sync_proxy_rules_last_timestamp_seconds"] == 0
    assert before["kubeproxy_sync_proxy_rules_iptables_restore_failures_total"] == 1
    assert before["kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total"] == 0
    counted.synced(0.003, full=True)
    counted.synced(0.003, full=False)
    after = samples(told(counted))
    assert after["kubeproxy_sync_proxy_rules_endpoint_changes_pending"] == 0
    assert after["kubeproxy_sync_proxy_rules_endpoint_changes_total"] == 2
    assert after["kubeproxy_sync_proxy_rules_duration_seconds_count"] == 2
    assert after["kubeproxy_sync_proxy_rules_duration_seconds_bucket le=0.002"] == 0
    assert after["kubeproxy_sync_proxy_rules_duration_seconds_bucket le=0.004"] == 2
    assert after["kubeproxy_sync_full_proxy_rules_duration_seconds_count"] == 1
    assert after["kubeproxy_sync_partial_proxy_rules_duration_seconds_count"] == 1
    assert after["kubeproxy_sync_proxy_rules_last_timestamp_seconds"] == 1000


def test_programming_latency_begins_with_the_cause() -> None:
    """From the annotation's time to the kernel, once per cause; causes before the start do not count."""
    now = [100.0]
    counted = Metrics(lambda: now[0])
    counted.slice_changed(changed_at("1970-01-01T00:01:30Z"))
    counted.slice_changed(changed_at("1970-01-01T00:01:50.5Z"))
    counted.slice_changed(changed_at("1970-01-01T00:01:50.5Z"))
    now[0] = 111.0
    counted.synced(0.001, full=False)
    counted.synced(0.001, full=False)
    found = samples(told(counted))
    assert found["kubeproxy_network_programming_duration_seconds_count"] == 1
    assert found["kubeproxy_network_programming_duration_seconds_sum"] == 0.5


def test_services_without_local_endpoints_are_counted() -> None:
    """A Local policy whose endpoints are all elsewhere; none anywhere is no matter of policy."""
    ports = (port(node_port=30080),)
    services = [
        service("a", type="NodePort", ports=ports, external_traffic_policy="Local"),
        service("b", internal_traffic_policy="Local"),
        service("c", internal_traffic_policy="Local"),
        service("d"),
    ]
    slices = [
        endpoint_slice([entry("10.244.2.7", "worker2")], "a"),
        endpoint_slice([entry("10.244.2.7", "worker2")], "b"),
        endpoint_slice([entry("10.244.2.7", "worker2")], "d"),
    ]
    found = samples(told(Metrics(), model=model.build(services, slices, "worker")))
    name = "kubeproxy_sync_proxy_rules_no_local_endpoints_total"
    assert found[f"{name} traffic_policy=external"] == 1
    assert found[f"{name} traffic_policy=internal"] == 1


def test_rules_are_told_by_table() -> None:
    """In iptables mode: how many there are, and how many the last sync wrote."""
    found = samples(told(Metrics(), written={"total": {"nat": 12}, "last": {"nat": 3}}))
    assert found["kubeproxy_sync_proxy_rules_iptables_total table=nat"] == 12
    assert found["kubeproxy_sync_proxy_rules_iptables_last table=nat"] == 3


def test_both_families_are_told_at_once() -> None:
    """A label says whose sync it was; what changed is counted for the process, as upstream does."""
    four, six = Metrics(), Metrics(family=Family.IPV6)
    four.service_changed()
    six.service_changed()
    six.synced(0.003, full=True)
    four.answered("healthz", 200)
    six.answered("healthz", 200)
    shares = [exposition.Share(counted=four), exposition.Share(counted=six)]
    found = samples(exposition.text(shares))
    count = "kubeproxy_sync_proxy_rules_duration_seconds_count"
    assert (found[count], found[f"{count} ip_family=IPv6"]) == (0, 1)
    assert found["kubeproxy_sync_proxy_rules_service_changes_total"] == 2
    assert found["kubeproxy_sync_proxy_rules_service_changes_pending"] == 1
    assert found["kubeproxy_proxy_healthz_total code=200"] == 2
