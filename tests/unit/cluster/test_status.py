"""A report says what was seen, and what could not be."""

from netpod.cluster import status
from netpod.cluster.config import ClusterConfig


def _report(*, api_ready: bool) -> status.Report:
    return status.Report(
        config=ClusterConfig(),
        processes=(),
        total_pss=0,
        api_ready=api_ready,
        nodes_ready=0,
        load_balancer="",
    )


def test_without_an_api_server_nodes_and_address_are_unknown() -> None:
    """Not none: rules and traffic may be as before."""
    facts = dict(_report(api_ready=False).facts())
    assert facts["nodes ready"] == facts["ingress address"] == "unknown"


def test_with_an_api_server_they_are_counted() -> None:
    """So that somebody sees what is missing."""
    facts = dict(_report(api_ready=True).facts())
    assert facts["nodes ready"] == "0 of 3"
    assert facts["ingress address"] == "none yet"
