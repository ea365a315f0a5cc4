"""Text of masquerade and hostPort rules."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from netpod.cni import masquerade, portmap
from netpod.linux import iptables

MAPPING = portmap.PortMapping(
    owner="default/web/1",
    pod_ip=IPv4Interface("10.244.1.5/24"),
    host_port=8080,
    container_port=80,
)


def test_masquerade_leaves_pods_and_kube_proxys_marked_packets_alone() -> None:
    """Between pods addresses are real; what kube-proxy marked is masqueraded by KUBE-POSTROUTING."""
    text = masquerade.compile(IPv4Network("10.244.1.0/24"), IPv4Network("10.244.0.0/16"))
    rules = iptables.parse_save(text)["nat"]["FLANNEL-POSTRTG"]
    assert [rule.split()[-1] for rule in rules] == [
        *["RETURN"] * 4,
        *["--random-fully"] * 2,
    ]
    assert rules[0].startswith("-m mark --mark 0x4000/0x4000")
    assert rules[1].startswith("-s 10.244.1.0/24 -d 10.244.0.0/16")


def test_no_host_port_and_no_chain_is_nothing_to_do() -> None:
    """A node that never had a hostPort keeps its rule set as it is."""
    assert portmap.compile([], {}) == ""


def test_a_host_port_has_its_own_chain_of_at_most_28_characters() -> None:
    """iptables refuses longer chain names."""
    text = portmap.compile([MAPPING], {})
    chain = portmap.chain_of("default/web/1")
    assert len(chain) == 28
    rules = iptables.parse_save(text)["nat"]
    assert rules[chain][-1] == ("-p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.244.1.5:80")
    assert rules[portmap.DNAT][0].endswith(f"-m multiport --dports 8080 -j {chain}")
    assert set(portmap.JUMPS) < set(rules)


def test_gone_pods_chains_are_deleted_and_jumps_not_repeated() -> None:
    """The text is the difference to what iptables-save showed, and deterministic."""
    before = portmap.compile([MAPPING], {})
    saved = iptables.parse_save(before)
    text = portmap.compile([], saved)
    assert text.endswith(f"-X {portmap.chain_of('default/web/1')}\nCOMMIT\n")
    assert "-A PREROUTING" not in text
    assert portmap.compile([MAPPING], {}) == before


def test_more_than_fifteen_ports_take_several_rules() -> None:
    """The multiport match holds fifteen ports."""
    mappings = [
        portmap.PortMapping(
            owner="default/web/1",
            pod_ip=MAPPING.pod_ip,
            host_port=9000 + n,
            container_port=80,
            host_ip=IPv4Address("172.18.0.2"),
        )
        for n in range(16)
    ]
    rules = iptables.parse_save(portmap.compile(mappings, {}))["nat"]
    assert len(rules[portmap.DNAT]) == 2
    assert rules[portmap.chain_of("default/web/1")][2].startswith("-d 172.18.0.2 -p tcp")
