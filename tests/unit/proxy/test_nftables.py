"""nftables mode: names by upstream's hashes, and compiled tables as pinned for review."""

import dataclasses
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from netpod.proxy import model, nftables, nftables_names, nftables_port, nftables_table
from netpod.proxy.model import Endpoint, ServicePortName
from netpod.proxy.nftables_compiled import Compiled
from netpod.proxy.nftables_table import Table
from tests.unit.proxy import builders

CASES = builders.cases()
SVC1 = ServicePortName(namespace="ns1", name="svc1", port="p80")
WEB = "KHN6ECMT-shop/web/tcp/http"
FIVE = "FDH7QP7U-shop/web/tcp/http__10.244.1.5/8080"
SIX = "SH75W6A6-shop/web/tcp/http__10.244.1.6/8080"
SEVEN = "W7KABZCH-shop/web/tcp/http__10.244.2.7/8080"
MARK = "jump mark-for-masquerade"


def test_names_carry_upstreams_hashes() -> None:
    """First eight characters of base32(sha256(rest of the name))."""
    base = nftables_names.service_base(SVC1)
    assert base == "ULMVA6XW-ns1/svc1/tcp/p80"
    endpoint = Endpoint(ip=IPv4Address("10.180.0.1"), port=80)
    found = nftables_names.endpoint_base(SVC1, endpoint)
    assert found == "5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80"
    unnamed = dataclasses.replace(SVC1, port="")
    assert nftables_names.service_base(unnamed) == "6KJ5P52A-ns1/svc1/tcp/"


def test_long_names_are_cut() -> None:
    """At most 240 characters after the prefix; the hash keeps them apart."""
    long = ServicePortName(namespace="n" * 63, name="s" * 63, port="p" * 150)
    other = dataclasses.replace(long, port="p" * 151)
    base = nftables_names.service_base(long)
    assert len(base) == 240
    assert base.endswith("...")
    assert base != nftables_names.service_base(other)


def test_names_lead_back_to_the_service() -> None:
    """trace and rules find the Service of a chain by its name alone."""
    assert nftables_names.service_of(f"service-{WEB}") == ("shop", "web")
    assert nftables_names.service_of(f"endpoint-{FIVE}") == ("shop", "web")
    assert nftables_names.service_of("services") is None
    dashed = nftables_names.service_base(ServicePortName(namespace="a-b", name="c-d"))
    assert nftables_names.service_of(f"external-{dashed}") == ("a-b", "c-d")


def test_worked_example() -> None:
    """Policy Local, affinity and source ranges at once: kubenet-facts C.5, element by element and rule by rule."""
    config = dataclasses.replace(builders.CONFIG, node_ip=IPv4Address("192.0.2.11"))
    table = nftables.compile(CASES["web-local"], config)
    assert table.elements == {
        "cluster-ips": {"10.96.45.12": ""},
        "nodeport-ips": {"192.0.2.11": ""},
        "service-ips": {
            "10.96.45.12 . tcp . 80": f" : goto service-{WEB}",
            "203.0.113.10 . tcp . 80": f" : goto external-{WEB}",
        },
        "service-nodeports": {"tcp . 31080": f" : goto external-{WEB}"},
        "firewall-ips": {"203.0.113.10 . tcp . 80": f" : goto firewall-{WEB}"},
        "no-endpoint-services": {},
        "no-endpoint-nodeports": {},
    }
    sticky = [f"ip saddr @affinity-{base} goto endpoint-{base}" for base in (FIVE, SIX, SEVEN)]
    choices = [f"goto endpoint-{base}" for base in (FIVE, SIX, SEVEN)]
    own = {name: rules for name, rules in table.chains.items() if "/" in name}
    endpoints = {
        f"endpoint-{base}": (
            f"ip saddr {base.split('__')[1].split('/')[0]} {MARK}",
            f"update @affinity-{base} {{ ip saddr }}",
            f"meta l4proto tcp dnat to {base.split('__')[1].replace('/', ':')}",
        )
        for base in (FIVE, SIX, SEVEN)
    }
    assert own == {
        f"service-{WEB}": (
            f"ip daddr 10.96.45.12 ip saddr != 10.244.0.0/16 {MARK}",
            *sticky,
            f"numgen random mod 3 vmap {{ 0 : {choices[0]}, 1 : {choices[1]}, 2 : {choices[2]} }}",
        ),
        f"local-{WEB}": (
            *sticky[:2],
            f"numgen random mod 2 vmap {{ 0 : {choices[0]}, 1 : {choices[1]} }}",
        ),
        f"external-{WEB}": (
            f'ip saddr 10.244.0.0/16 goto service-{WEB} comment "short-circuit pod traffic"',
            f'fib saddr type local {MARK} comment "masquerade local traffic"',
            f'fib saddr type local goto service-{WEB} comment "short-circuit local traffic"',
            f"goto local-{WEB}",
        ),
        f"firewall-{WEB}": ("ip saddr != 198.51.100.0/24 drop",),
        **endpoints,
    }
    assert table.affinity == {f"affinity-{base}": 10800 for base in (FIVE, SIX, SEVEN)}


@pytest.mark.parametrize("name", sorted(CASES))
def test_table_is_the_pinned_one(name: str) -> None:
    """Chains, maps, sets and rules are upstream's, in the form `nft list` prints."""
    made = nftables_table.list_text(nftables.compile(CASES[name], builders.CONFIG))
    assert made == Path(builders.GOLDEN / f"{name}.nft").read_text()


def test_every_golden_table_has_its_case() -> None:
    """A golden file that nothing compiles pins nothing."""
    assert {path.stem for path in builders.GOLDEN.glob("*.nft")} == set(CASES)


def test_ranges_that_touch_become_one() -> None:
    """Overlaps are an error in a set of intervals."""
    found = [IPv4Network(n) for n in ("10.0.1.0/24", "10.0.0.0/24", "10.0.0.7/32", "192.0.2.1/32")]
    assert nftables_port.networks(found) == "{ 10.0.0.0/23, 192.0.2.1 }"


def test_first_service_by_name_has_a_contested_address() -> None:
    """When the winner goes, the other one gets the element; the table never lacks it meanwhile."""
    build = model.build
    ip: dict[str, Any] = {"external_ips": ("198.51.100.7",)}
    one = builders.service("a", cluster_ip="10.96.0.1", **ip)
    two = builders.service("b", cluster_ip="10.96.0.2", **ip)
    slices = [builders.endpoint_slice(builders.WEB, name) for name in ("a", "b")]
    compiled = Compiled(builders.CONFIG)
    both = build((one, two), slices, "worker")
    compiled.rebuild(both)
    assert compiled.desired == nftables.compile(both, builders.CONFIG)
    compiled.applied()
    rest = build((two,), slices, "worker")
    compiled.update(both.services, rest)
    delta = compiled.pending()
    key = "198.51.100.7 . tcp . 80"
    assert set(delta.remove["service-ips"]) == {key, "10.96.0.1 . tcp . 80"}
    assert "/b/" in delta.add["service-ips"][key]


@pytest.mark.parametrize("name", sorted(CASES))
def test_one_port_at_a_time_gives_the_same_table(name: str) -> None:
    """Going through all other cases and back ends with exactly what compile says."""
    compiled = Compiled(builders.CONFIG)
    seen = CASES["empty"]
    for other in (*sorted(CASES), name):
        compiled.update({*seen.services, *CASES[other].services}, CASES[other])
        seen = CASES[other]
    assert compiled.desired == nftables.compile(CASES[name], builders.CONFIG)


def test_difference_to_itself_is_nothing() -> None:
    """A table that is as wanted needs no transaction; an absent one needs everything."""
    table = nftables.compile(CASES["web"], builders.CONFIG)
    assert not nftables_table.difference(table, table)
    assert nftables_table.transactions(nftables_table.difference(table, table)) == []
    assert nftables_table.difference(table, None).new == frozenset(table.chains)


def test_many_new_chains_are_filled_before_anything_leads_to_them() -> None:
    """The base chains and the map elements come in the last transaction."""
    table = nftables.compile(CASES["web"], builders.CONFIG)
    extra = {f"service-X-a/{i}/tcp/": ("drop",) for i in range(nftables_table.CHUNK_RULES + 1)}
    wanted = dataclasses.replace(table, chains={**table.chains, **extra})
    first, *middle, last = nftables_table.transactions(nftables_table.difference(wanted, Table()))
    assert "hook" not in first + "".join(middle)
    assert "add element" not in first + "".join(middle)
    assert "add rule" not in first
    assert "hook prerouting" in last
    assert last.count("add element") == 5
