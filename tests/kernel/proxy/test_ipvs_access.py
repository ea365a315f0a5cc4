"""Who gets at a Service's address in IPVS mode, where every such address is the node's own."""

import dataclasses

import pytest

from netpod.api.discovery import EndpointSlice
from netpod.api.service import Service
from netpod.proxy import model, variants
from netpod.proxy.config import Mode
from netpod.proxy.ipvs_proxier import IpvsProxier
from tests.kernel.proxy import lab
from tests.kernel.proxy.lab import NODE, POD1, POD2, ask
from tests.support.guest import needs
from tests.unit.proxy import builders
from tests.unit.proxy.builders import endpoint_slice, entry, service

pytestmark = needs("ip_vs")

VIP, LOAD_BALANCER = "10.96.45.12", "203.0.113.10"


def sync(wanted: Service, ends: EndpointSlice) -> None:
    """A full sync of one Service."""
    config = dataclasses.replace(
        builders.CONFIG, netns=NODE, mode=Mode.IPVS, iptables_variant=lab.RULES
    )
    lab.run(IpvsProxier(config).full_sync(model.build((wanted,), (ends,), "worker")))


@pytest.mark.parametrize("own", [False, True])
def test_source_ranges_hold_for_the_node_itself(node: str, own: bool) -> None:
    """Its packet to a load balancer has that as its source: KUBE-IPVS-OUT-FILTER, unless a range is the node's."""
    ranges = ("10.244.0.0/16", *(("172.18.0.0/16",) if own else ()))
    balancer = service(
        type="LoadBalancer", vips=(LOAD_BALANCER,), load_balancer_source_ranges=ranges
    )
    ends = endpoint_slice([entry("10.244.1.5")])
    sync(balancer, ends)
    assert ask(POD2, LOAD_BALANCER)[0] == POD1
    assert ask(NODE, VIP)[0] == POD1
    if own:
        assert ask(NODE, LOAD_BALANCER)[0] == POD1
    else:
        with pytest.raises(TimeoutError):
            ask(NODE, LOAD_BALANCER)
    rules = variants.observe(lab.RULES, NODE)["filter"]["KUBE-IPVS-OUT-FILTER"]
    assert len(rules) == (0 if own else 1)


def test_only_a_services_ports_are_at_its_address(node: str) -> None:
    """What listens on all of the node's addresses is not reached through a Service's: KUBE-IPVS-FILTER."""
    sync(service(), endpoint_slice([entry("10.244.1.5")]))
    with lab.tcp_server(NODE, 8099):
        assert ask(POD2, "10.244.1.1", 8099)[0] == NODE
        with pytest.raises(ConnectionRefusedError):
            ask(POD2, VIP, 8099)
