"""Handles → words: the n-th rule of nft's listing is the n-th of iptables-save's."""

import pytest

from netpod.trace import nftmeaning, rules

RULESET = """table ip nat { # handle 1
\tchain KUBE-SVC-X { # handle 4
\t\tmeta l4proto tcp  counter packets 0 bytes 0 jump KUBE-SEP-1 # handle 11
\t\t counter packets 0 bytes 0 jump KUBE-SEP-2 # handle 12
\t}

\tchain PREROUTING { # handle 5
\t\ttype nat hook prerouting priority dstnat; policy accept;
\t\tcounter packets 3 bytes 180 jump KUBE-SERVICES # handle 20
\t}
}
table ip netpod-lb { # handle 2
\tchain prerouting { # handle 1
\t\ttype nat hook prerouting priority dstnat; policy accept;
\t\tip daddr { 198.51.100.1,
\t\t\t   198.51.100.2 } dnat to 172.18.0.3 # handle 7
\t}
}
"""
SAVED = """*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SVC-X - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A KUBE-SVC-X -m comment --comment "shop/web:http -> 10.0.0.1:80" -m statistic --mode random \
--probability 0.50000000000 -j KUBE-SEP-1
-A KUBE-SVC-X -m comment --comment "shop/web:http -> 10.0.0.2:80" -j KUBE-SEP-2
COMMIT
"""


def test_iptables_rules_get_their_own_words_and_native_ones_nfts() -> None:
    """A rule that wraps over lines is one rule."""
    book = rules.compile_book(RULESET, SAVED)
    assert book.complete
    assert book.text("ip", "nat", "PREROUTING", 20) == "-A PREROUTING -j KUBE-SERVICES"
    assert book.text("ip", "nat", "KUBE-SVC-X", 12).endswith("-j KUBE-SEP-2")
    lb = book.text("ip", "netpod-lb", "prerouting", 7)
    assert lb == "ip daddr { 198.51.100.1, 198.51.100.2 } dnat to 172.18.0.3"
    assert book.text("ip", "nat", "KUBE-SVC-X", 99) == ""


def test_listings_that_disagree_are_not_joined() -> None:
    """Rules changed between the two listings: words that may be another rule's are not used."""
    changed = SAVED.replace("-A KUBE-SVC-X", "-A KUBE-SVC-X -j LOG\n-A KUBE-SVC-X", 1)
    book = rules.compile_book(RULESET, changed)
    assert not book.complete
    assert "counter" in book.text("ip", "nat", "KUBE-SVC-X", 11)
    assert not rules.compile_book(RULESET, None).complete


@pytest.mark.parametrize(
    ("handle", "target", "words"),
    [
        (11, "KUBE-SEP-1", "endpoint 1 of 2 of shop/web:http, drawn with probability 0.500: 10.0.0.1:80"),
        (12, "KUBE-SEP-2", "endpoint 2 of 2 of shop/web:http, the others were not drawn: 10.0.0.2:80"),
    ],
)  # fmt: skip
def test_choice_of_an_endpoint_says_how_it_was_chosen(handle: int, target: str, words: str) -> None:
    """The last endpoint is taken when no other was drawn."""
    book = rules.compile_book(RULESET, SAVED)
    text = book.text("ip", "nat", "KUBE-SVC-X", handle)
    assert rules.meaning(book.chain("ip", "nat", "KUBE-SVC-X"), "KUBE-SVC-X", target, text) == words


@pytest.mark.parametrize(
    ("chain", "target", "text", "words"),
    [
        ("KUBE-NODEPORTS", "KUBE-EXT-X", '-A KUBE-NODEPORTS -p tcp -m comment --comment "a/b:c" '
         "-m tcp --dport 30080 -j KUBE-EXT-X", "node port 30080 belongs to a/b:c"),
        ("KUBE-SERVICES", "", '-A KUBE-SERVICES -m comment --comment "a/b has no endpoints" -j REJECT',
         "a/b has no endpoints"),
        ("KUBE-SEP-1", "", "-A KUBE-SEP-1 -p tcp -m tcp -j DNAT --to-destination 1.2.3.4:80",
         "send to endpoint 1.2.3.4:80"),
        ("FORWARD", "", "-A FORWARD -j DROP", ""),
        ("KUBE-POSTROUTING", "", "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
         "not marked: the source stays"),
    ],
)  # fmt: skip
def test_meaning(chain: str, target: str, text: str, words: str) -> None:
    """kube-proxy's rules are said in Kubernetes' words; others are not interpreted."""
    assert rules.meaning((), chain, target, text) == words


def test_a_policy_is_named_where_it_stopped_or_let_pass() -> None:
    """The chain of a pod's policies says which, in its rules' comments."""
    chain = "ingress-ed4d8f0b6dd6-default/keep-out"
    stop = 'counter drop comment "isolated by default/keep-out, default/more"'
    words = "NetworkPolicy default/keep-out, default/more allows no such ingress"
    assert nftmeaning.meaning(chain, "", stop) == words
    let = 'ip saddr @pods-1 counter return comment "default/keep-out"'
    assert (
        nftmeaning.meaning(chain, "", let) == "NetworkPolicy default/keep-out allows this ingress"
    )
    asked = nftmeaning.meaning("forward", chain, "ip daddr vmap @ingress")
    assert asked == "policies choose the receiver: ask for its ingress"
