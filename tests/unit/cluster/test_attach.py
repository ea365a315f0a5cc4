"""Addresses and networks of a machine that is attached."""

from netpod.cluster import attach
from netpod.cluster.config import ClusterConfig


def test_the_last_addresses_of_the_outside_network_are_the_links() -> None:
    """The machine's and the edge's address make a network of four, clear of the client's."""
    config = ClusterConfig(attach=True)
    ((edge, machine),) = attach.ends(config)
    assert (str(edge), str(machine)) == ("203.0.113.253/30", "203.0.113.254/30")
    assert [str(network) for network in attach.destinations(config)] == [
        "10.244.0.0/16",
        "10.96.0.0/16",
        "198.51.100.0/24",
        "172.18.0.0/16",
    ]


def test_both_families_are_attached() -> None:
    """A dual-stack cluster gets a pair of addresses of each family."""
    pairs = attach.ends(ClusterConfig(attach=True, ip_family="dual"))
    assert [pair[1].version for pair in pairs] == [4, 6]
    assert {pair[1].network.num_addresses for pair in pairs} == {4}
