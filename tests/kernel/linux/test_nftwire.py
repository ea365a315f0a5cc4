"""What is handed to the kernel without nft is, to nft, what nft itself would have handed over."""

import os
from collections.abc import Iterator

import pytest

from netpod.errors import KernelError
from netpod.ip import Family
from netpod.linux import netns, nft, nftread, nftwire

NODE = "npt-nftwire"
BASE = """add table ip t
add map ip t m { type ipv4_addr . inet_proto . inet_service : verdict ; }
add map ip t p { type inet_proto . inet_service : verdict ; }
add set ip t s { type ipv4_addr ; }
add chain ip t to
"""
TEXT = """add set ip t aff-A-x/y { type ipv4_addr ; size 65535 ; flags dynamic,timeout ; timeout 10800s ; }
add chain ip t a/b
add chain ip t c
flush chain ip t to
add rule ip t a/b ip daddr 10.96.45.12 ip saddr != 10.244.0.0/16 jump to
add rule ip t a/b ip daddr 10.96.45.12 jump to
add rule ip t a/b ip saddr @aff-A-x/y goto to
add rule ip t a/b ip saddr 10.244.0.0/16 goto to comment "short-circuit pod traffic"
add rule ip t a/b fib saddr type local jump to comment "masquerade local traffic"
add rule ip t a/b ip saddr != 198.51.100.0/24 drop
add rule ip t a/b numgen random mod 3 vmap { 0 : goto to, 1 : goto c, 2 : goto to }
add rule ip t c ip saddr 10.244.1.5 jump to
add rule ip t c update @aff-A-x/y { ip saddr }
add rule ip t c meta l4proto sctp dnat to 10.244.1.5:8080
add rule ip t c goto to
add element ip t m { 10.96.1.1 . tcp . 80 comment "shop/web:http" : drop }
add element ip t m { 10.96.1.2 . udp . 53 : goto a/b }
add element ip t p { tcp . 30080 : goto a/b }
add element ip t s { 10.96.1.1 }
"""
UNDO = """flush chain ip t a/b
flush chain ip t c
delete element ip t m { 10.96.1.2 . udp . 53 }
delete element ip t p { tcp . 30080 }
delete set ip t aff-A-x/y
delete chain ip t c
"""


@pytest.fixture
def node() -> Iterator[str]:
    """A namespace with the table the commands change."""
    netns.create(NODE)
    try:
        nft.apply(NODE, BASE)
        yield NODE
    finally:
        netns.delete_netns(NODE)


def test_every_form_lists_as_nfts_own(node: str) -> None:
    """Rules, elements, comments, sets: the list is the same, word for word."""
    nft.apply(node, TEXT)
    want = nft.list_text(node)
    nft.apply(node, "flush ruleset\n" + BASE)
    assert nftwire.apply(node, TEXT) is True
    assert nft.list_text(node) == want
    nft.apply(node, UNDO)
    want = nft.list_text(node)
    nft.apply(node, "flush ruleset\n" + BASE + TEXT)
    assert nftwire.apply(node, UNDO) is True
    assert nft.list_text(node) == want


@pytest.mark.parametrize(
    "line",
    [
        "add table ip t",
        "add rule ip t to ip saddr != { 10.0.0.0/24, 192.0.2.1 } drop",
        "add rule ip t to ip saddr 10.0.0.0/20 drop",
        "add chain ip t x { type filter hook input priority filter; policy accept; }",
        "add element ip t s { nonsense }",
        "nonsense",
    ],
)
def test_unknown_commands_are_left_to_nft(node: str, line: str) -> None:
    """Nothing is done, not even the commands before it."""
    before = nft.list_text(node)
    assert nftwire.apply(node, f"add chain ip t before\n{line}\n") is False
    assert nft.list_text(node) == before


def test_refused_transaction_changes_nothing(node: str) -> None:
    """The kernel's errno is told, and what came before the bad command is taken back."""
    before = nft.list_text(node)
    for bad in ("delete chain ip t absent", "add rule ip t to goto absent", "flush chain ip x y"):
        with pytest.raises(KernelError) as caught:
            nftwire.apply(node, f"add chain ip t before\n{bad}\nadd chain ip t after\n")
        assert caught.value.errno == 2
        assert nft.list_text(node) == before


def test_long_texts_are_left_to_nft(node: str) -> None:
    """The socket's buffer has an end."""
    text = "".join(f"add chain ip t chain-{i:030}\n" for i in range(4000))
    assert nftwire.apply(node, text) is False
    assert nftwire.apply(node, text[: nftwire.MAX_BYTES // 2].rsplit("\n", 1)[0] + "\n") is True


def test_existence_is_asked_by_name(node: str) -> None:
    """Of a table, and of a chain in it; a namespace without any nftables has neither."""
    assert nftread.exists(node, "t")
    assert nftread.exists(node, "t", "to")
    assert not nftread.exists(node, "t", "absent")
    assert not nftread.exists(node, "absent", "to")
    nft.apply(node, "flush ruleset\n")
    assert not nftread.exists(node, "t")


def test_rules_of_one_chain_are_counted(node: str) -> None:
    """More than one answer's worth; other chains' do not count, an absent chain has none."""
    nft.apply(node, "add table ip6 t\nadd chain ip6 t to\nadd rule ip6 t to drop\n")
    nft.apply(node, "add rule ip t to counter\n" * 2000)
    assert nftread.rule_count(node, "t", "to") == 2000
    assert nftread.rule_count(node, "t", "to", Family.IPV6) == 1
    assert nftread.rule_count(node, "t", "absent") == 0
    assert nftread.rule_count(node, "absent", "to") == 0


def test_transactions_of_ones_own_namespace_share_a_socket() -> None:
    """A refused one leaves nothing for the next to read; a child of fork opens its own."""

    def apply(text: str) -> None:
        assert nftwire.apply("", text)

    nft.apply("", "add table ip own\nadd set ip own s { type ipv4_addr ; }\n")
    try:
        apply("add element ip own s { 10.0.0.1 }\n")
        before = _netlink_sockets()
        apply("add element ip own s { 10.0.0.2 }\n")
        assert _netlink_sockets() == before
        with pytest.raises(KernelError):
            apply("delete chain ip own no/1\ndelete chain ip own no/2\n")
        apply("add element ip own s { 10.0.0.3 }\n")
        pid = os.fork()
        if pid == 0:
            try:
                apply("add element ip own s { 10.0.0.4 }\n")
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        apply("add element ip own s { 10.0.0.5 }\n")
        assert all(f"10.0.0.{n}" in nft.list_text("", "table", "ip", "own") for n in range(1, 6))
    finally:
        nft.apply("", "delete table ip own\n")


def _netlink_sockets() -> set[str]:
    return {
        link
        for fd in os.listdir("/proc/self/fd")
        if (link := _target(f"/proc/self/fd/{fd}")).startswith("socket:")
    }


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
