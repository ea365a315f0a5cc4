"""What a real kube-proxy wrote for the same objects: every difference is one that upstream made since."""

import dataclasses
from collections import Counter
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from netpod.api import codec
from netpod.api.core import Endpoints
from netpod.api.service import Service
from netpod.controllers import mirroring
from netpod.proxy import iptables, model, restore
from netpod.proxy.model import Model
from netpod.proxy.restore import BUILT_IN
from tests.unit.proxy import builders
from tests.unit.proxy.modern import Tables, modern

FOLDER = Path(__file__).parent / "upstream"
CASES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
CIDR = IPv4Network("10.244.0.0/16")
CONFIG = dataclasses.replace(
    builders.CONFIG, node_name="node1", node_ip=IPv4Address("10.250.0.2"), cluster_cidr=CIDR
)
KUBERNETES = (
    builders.service(
        "kubernetes", "default", cluster_ip="10.96.0.1", ports=(builders.port(443, "https"),)
    ),
    builders.endpoint_slice(
        [builders.entry("10.250.0.2", "")], "kubernetes", "default", ports=(("https", 6443, "TCP"),)
    ),
)


def objects(case: str) -> Model:
    """The model of a case's objects; Endpoints become slices as they do in a cluster."""
    services, slices = [KUBERNETES[0]], [KUBERNETES[1]]
    found = {
        manifest["kind"]: codec.decode_object(manifest)
        for manifest in codec.load_manifests((FOLDER / f"{case}.yaml").read_text())
    }
    service, endpoints = found.get("Service"), found.get("Endpoints")
    if isinstance(service, Service):
        services.append(service)
        if isinstance(endpoints, Endpoints):
            slices += mirroring.mirror(service, endpoints)
    return model.build(services, slices, "node1")


def recorded(case: str) -> Tables:
    """What kube-proxy 1.20 wrote."""
    return restore.parse_save((FOLDER / f"{case}.rules").read_text())


def compiled(case: str) -> Tables:
    """What netpod writes."""
    made = iptables.compile(objects(case), CONFIG)
    for table, rule in iptables.JUMPS:
        chain = rule.split(" ", 2)[1]
        made[table][chain] = (rule, *made[table].get(chain, ()))
    return made


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("table", ["nat", "filter"])
def test_every_difference_is_upstreams(case: str, table: str) -> None:
    """The recorded rules with upstream's documented changes are the compiled ones, chain by chain."""
    want = {
        c: r for c, r in modern(recorded(case), str(CIDR))[table].items() if r or c[:4] == "KUBE"
    }
    have = compiled(case)[table]
    assert sorted(have) == sorted(want)
    for chain, rules in want.items():
        # Services come in any order in 1.20, and built-in chains depend on who was there first.
        if chain in BUILT_IN or chain in ("KUBE-SERVICES", "KUBE-NODEPORTS"):
            assert Counter(have[chain]) == Counter(rules), chain
        else:
            assert have[chain] == rules, chain


@pytest.mark.parametrize("case", CASES)
def test_node_ports_stay_last(case: str) -> None:
    """In both, KUBE-SERVICES ends with the jump to KUBE-NODEPORTS."""
    for tables in (recorded(case), compiled(case)):
        assert tables["nat"]["KUBE-SERVICES"][-1].endswith("-j KUBE-NODEPORTS")


def test_the_checker_is_needed_and_sees_more_than_it_explains() -> None:
    """Without the changes the rules differ, and a rule upstream never wrote is not explained away."""
    assert recorded("nodeport-local")["nat"] != compiled("nodeport-local")["nat"]
    old = recorded("nodeport-local")
    chain = "KUBE-SVC-XJJW2V2ALMB65PYJ"
    old["nat"][chain] = old["nat"][chain][1:]
    assert modern(old, str(CIDR))["nat"][chain] != compiled("nodeport-local")["nat"][chain]


def test_headless_services_have_no_rules() -> None:
    """As recorded: nothing but what an empty cluster has."""
    assert recorded("headless") == recorded("base")
    assert compiled("headless") == compiled("base")
