"""Whose the parts of IPVS mode are, and what of them belongs to a Service."""

from dataclasses import replace
from ipaddress import IPv4Address

from netpod.api.meta import ObjectMeta
from netpod.api.service import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from netpod.cluster import ipvsrules, wantedrules
from netpod.cluster.rules import Found, explained, select
from netpod.cluster.rulevalues import Chain
from netpod.ip import Family
from netpod.linux.iptables import Counted
from netpod.proxy import ipvs_compiled, model
from netpod.proxy.model import Endpoint
from tests.unit.proxy import builders

WEB = Service(
    metadata=ObjectMeta(name="web", namespace="shop"),
    spec=ServiceSpec(
        type="LoadBalancer",
        cluster_ip="10.96.45.12",
        cluster_ips=("10.96.45.12",),
        ports=(ServicePort(name="http", protocol="TCP", port=80, node_port=31080),),
    ),
    status=ServiceStatus(
        load_balancer=LoadBalancerStatus(ingress=(LoadBalancerIngress(ip="203.0.113.10"),))
    ),
)
OTHER = Service(
    metadata=ObjectMeta(name="other", namespace="shop"),
    spec=ServiceSpec(
        type="ClusterIP",
        cluster_ip="10.96.45.13",
        cluster_ips=("10.96.45.13",),
        ports=(ServicePort(protocol="TCP", port=80),),
    ),
)
SERVICES = [WEB, OTHER]


def found(*, weight: int = 1) -> Found:
    """A node's rules and state when both Services have one endpoint, and the first of them this weight."""
    built = model.build(SERVICES, [], "worker")
    ends = {
        name: (Endpoint(ip=IPv4Address(f"10.244.1.{n}"), port=8080, is_local=True),)
        for n, name in enumerate(built.services, 5)
    }
    full = replace(built, endpoints=ends)
    desired = ipvs_compiled.compile(full, builders.CONFIG)
    counted = [
        Counted(table=t, chain=c, position=i, rule=r.split(" ", 2)[2], packets=i, bytes=0)
        for t, chains in desired.rules.items()
        for c, rules in chains.items()
        for i, r in enumerate(rules, 1)
    ]
    state = ipvsrules.expected(desired, Family.IPV4)
    servers = tuple(
        (virtual, tuple(replace(it, weight=weight) for it in real))
        for virtual, real in state.servers
    )
    return Found(counted=counted, ipvs=replace(state, servers=servers))


def chosen(*, weight: int = 1) -> list[Chain]:
    """What `netpod rules svc/web` shows."""
    rules = found(weight=weight)
    return explained(select(rules, ("shop", "web"), Family.IPV4, lambda: SERVICES))


def test_a_service_has_its_servers_members_and_helpers() -> None:
    """Every place of it, the sets that hold it, the rules that look into those; nothing of the other Service."""
    chains = chosen()
    servers = {it.name: it.purpose for it in chains if it.table == "ipvs"}
    node = builders.CONFIG.node_ip
    assert servers == {
        "TCP 10.96.45.12:80 rr": "cluster IP of shop/web:http",
        "TCP 203.0.113.10:80 rr": "load balancer of shop/web:http",
        f"TCP {node}:31080 rr": "node port of shop/web:http",
    }
    members = {it.name: [r.rule for r in it.rules] for it in chains if it.table == "ipset"}
    assert members == {
        "KUBE-CLUSTER-IP": ["10.96.45.12,tcp:80"],
        "KUBE-IPVS-IPS": ["10.96.45.12", "203.0.113.10"],
        "KUBE-LOAD-BALANCER": ["203.0.113.10,tcp:80"],
        "KUBE-LOOP-BACK": [f"{endpoint()},tcp:8080,{endpoint()}"],
        "KUBE-NODE-PORT-TCP": ["31080"],
    }
    helpers = {(it.table, it.name) for it in chains} - {("link", "kube-ipvs0")}
    assert {
        ("nat", "KUBE-SERVICES"),
        ("nat", "KUBE-NODE-PORT"),
        ("filter", "KUBE-IPVS-FILTER"),
    } < helpers
    assert all(it.purpose for it in chains)
    assert all(r.meaning for it in chains if it.table in ("nat", "filter") for r in it.rules)
    assert "10.96.45.13" not in str(chains)


def endpoint() -> str:
    """Address of the Service's endpoint."""
    rules = found()
    assert rules.ipvs is not None
    (real,) = {
        it
        for virtual, destinations in rules.ipvs.servers
        if str(virtual.place[0]) == "10.96.45.12"
        for it in destinations
    }
    return str(real.address)


def test_what_drains_is_no_difference() -> None:
    """A real server of weight 0 says what it waits for, and --diff does not count it."""
    draining = chosen(weight=0)
    assert "drains" in str([it for it in draining if it.table == "ipvs"])
    left = ipvsrules.without_draining(draining)
    assert not [r for it in left if it.table == "ipvs" for r in it.rules]
    assert wantedrules.difference(chosen(), chosen()) == []
    assert {line.sign for line in wantedrules.difference(chosen(), left)} == {"-"}
