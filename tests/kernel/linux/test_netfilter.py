"""Rule sets and flows."""

import errno
import socket
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from netpod.errors import CommandFailed
from netpod.linux import conntrack, iptables, netns, nft, process

MakeNetns = Callable[[], str]
Pair = tuple[str, str]

NAT = """\
*nat
:TEST - [0:0]
-A TEST -p udp -m udp --dport 53 -j DNAT --to-destination 10.0.0.2:5353
COMMIT
"""


def test_an_iptables_table_is_handed_over_whole_or_not_at_all(make_netns: MakeNetns) -> None:
    """The last line is wrong, so the chain before it is not made either."""
    name = make_netns()
    text = "*nat\n:TEST - [0:0]\n-A TEST -j ACCEPT\n-A ABSENT -j ACCEPT\nCOMMIT\n"
    with pytest.raises(CommandFailed) as caught:
        iptables.restore(name, text)
    assert "-A ABSENT -j ACCEPT" in str(caught.value), "the message shows the rule at fault"
    assert caught.value.errno == errno.ENOENT
    assert "TEST" not in iptables.save(name)


def test_noflush_keeps_other_chains_and_empties_declared_ones(make_netns: MakeNetns) -> None:
    """So two components share a table, each rewriting its own chains."""
    name = make_netns()
    iptables.restore(name, "*nat\n:OTHER - [0:0]\n-A OTHER -j ACCEPT\nCOMMIT\n")
    for _ in range(2):
        iptables.restore(name, NAT)
    tables = iptables.parse_save(iptables.save(name))
    assert tables["nat"]["OTHER"] == ["-j ACCEPT"]
    assert len(tables["nat"]["TEST"]) == 1
    iptables.restore(name, NAT, test=True)
    iptables.restore(name, NAT, noflush=False)
    assert "OTHER" not in iptables.parse_save(iptables.save(name, "nat"))["nat"]


def test_a_nat_flow_shows_both_tuples_and_can_be_forgotten(pair: Pair) -> None:
    """What the client sent, and what an answer looks like: their difference is the DNAT."""
    left, _ = pair
    iptables.restore(left, NAT.replace("COMMIT", "-A OUTPUT -j TEST\nCOMMIT"))
    with netns.socket_in(left, socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("10.0.0.1", 4000))
        client.sendto(b"?", ("10.0.0.99", 53))
    process.run(["ping", "-c", "1", "10.0.0.2"], netns=left)
    (flow,) = conntrack.observe(left, protocol="udp")
    assert flow.original == conntrack.Tuple(
        source=IPv4Address("10.0.0.1"),
        destination=IPv4Address("10.0.0.99"),
        source_port=4000,
        destination_port=53,
    )
    assert flow.reply.source == IPv4Address("10.0.0.2")
    assert flow.reply.source_port == 5353
    assert flow.status & conntrack.STATUS_DST_NAT
    assert 0 < flow.timeout <= 30
    assert [it.protocol for it in conntrack.observe(left, protocol="icmp")] == ["icmp"]
    assert conntrack.delete(left, lambda it: it.original.destination_port == 1) == 0
    assert conntrack.delete(left, lambda it: it == flow, protocol="udp") == 1
    assert conntrack.delete(left, lambda _: True) == 1, "the ping's"
    assert conntrack.observe(left) == []
    (counted,) = [it for it in iptables.list_counters(left, "nat") if it.chain == "TEST"]
    assert (counted.position, counted.packets) == (1, 1)


def test_a_tcp_flow_says_its_state(pair: Pair) -> None:
    """As `conntrack -L` names it."""
    left, right = pair
    iptables.restore(left, "*filter\n-A OUTPUT -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT\n")
    with (
        netns.socket_in(right, socket.AF_INET, socket.SOCK_STREAM) as server,
        netns.socket_in(left, socket.AF_INET, socket.SOCK_STREAM) as client,
    ):
        server.bind(("10.0.0.2", 80))
        server.listen()
        client.connect(("10.0.0.2", 80))
        (flow,) = conntrack.observe(left, protocol="tcp")
        assert flow.state == "ESTABLISHED"
        assert flow.status & conntrack.STATUS_ASSURED


def test_an_nft_transaction_is_whole_and_its_error_names_the_line(make_netns: MakeNetns) -> None:
    """Nothing of it takes effect when one command fails."""
    name = make_netns()
    with pytest.raises(CommandFailed) as caught:
        nft.apply(name, "add table ip t\nadd rule ip t absent accept\n")
    assert "line 2" in str(caught.value)
    assert "add rule ip t absent accept" in str(caught.value)
    assert caught.value.errno == errno.ENOENT
    assert nft.list_text(name) == ""
    nft.check(name, "add table ip t\n")
    assert nft.list_text(name) == ""
    nft.apply(name, "add table ip t\nadd chain ip t c\n")
    chains = [it["chain"]["name"] for it in nft.list_json(name, "chains") if "chain" in it]
    assert chains == ["c"]
