"""The table of IPv6: the kernel takes it, and it holds addresses of that family alone."""

from collections.abc import Iterator

import pytest

from netpod.api.meta import key_of
from netpod.ip import Family
from netpod.linux import netns, nft
from netpod.policy import model
from netpod.policy.index import Index
from tests.unit.policy import builders

HERE = "npp-families"


@pytest.fixture
def empty() -> Iterator[str]:
    """A namespace without anything."""
    netns.create(HERE)
    try:
        yield HERE
    finally:
        netns.delete_netns(HERE)


def test_the_kernel_takes_the_table_of_each_family(empty: str) -> None:
    """Blocks of the other family choose nobody; neighbour discovery passes before anybody is judged."""
    blocks = [
        {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.7/32"]}},
        {"ipBlock": {"cidr": "2001:db8::/32", "except": ["2001:db8:1::/48"]}},
        {"namespaceSelector": {"matchLabels": {"ns": "y"}}},
    ]
    ports = [{"port": 80}, {"port": "serve-81-tcp"}, {"protocol": "UDP", "port": 80, "endPort": 90}]
    policy = builders.policy(
        "some",
        policyTypes=["Ingress", "Egress"],
        ingress=[{"from": blocks, "ports": ports}],
        egress=[{"to": blocks[:2]}],
    )
    addresses = {Family.IPV4: "10.244.1.2", Family.IPV6: "fd00:10:244:1::2"}
    texts = {}
    for family in Family:
        index = Index("node1", family)
        index.put_namespace("x", {"ns": "x"})
        pod = builders.pod("x/a", address=addresses[family], node="node1")
        index.put_pod(key_of(pod), model.pod_of(pod, family=family))
        index.put_policy(key_of(policy), model.policy_of(policy))
        texts[family] = index.table.everything()
        nft.apply(empty, texts[family])
    assert "2001:db8" not in texts[Family.IPV4]
    assert "192.0.2" not in texts[Family.IPV6]
    listed = nft.list_text(empty, "chain", "ip6", "netpod-policy", "forward").splitlines()
    rules = [line.strip() for line in listed if "accept" in line or "vmap" in line]
    found = next(i for i, rule in enumerate(rules) if "nd-neighbor-solicit" in rule)
    judged = next(i for i, rule in enumerate(rules) if "vmap" in rule)
    assert found < judged, rules
