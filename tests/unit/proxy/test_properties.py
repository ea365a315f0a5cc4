"""Any way of changing Services and EndpointSlices ends with the rules of the final state, in every mode and family."""

import dataclasses
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netpod.api.discovery import EndpointSlice
from netpod.api.service import Service
from netpod.ip import Family
from netpod.proxy import iptables, ipvs_compiled, nftables
from netpod.proxy.changes import ChangeTracker
from netpod.proxy.compiled import Compiled as IptablesCompiled
from netpod.proxy.ipvs import Ipvs
from netpod.proxy.ipvs_rules import JUMPS, Set
from netpod.proxy.nftables_compiled import Compiled
from netpod.proxy.nftables_table import Delta, Table, difference, parse_list
from netpod.proxy.restore import Ruleset
from tests.unit.proxy import builders, families

# The fixture says a family for all examples, as it should.
FIXTURE = [HealthCheck.function_scoped_fixture]
NAMES = ("a", "b", "c")
IPS = ("10.244.1.5", "10.244.1.6", "10.244.2.7")

services = st.builds(
    lambda name, local, sticky, node_port, external, ranges, inside, udp: builders.service(
        name,
        cluster_ip=f"10.96.0.{ord(name)}",
        type="LoadBalancer" if node_port else "ClusterIP",
        ports=(builders.port(80, "http", "UDP" if udp else "TCP", node_port=node_port),),
        vips=("203.0.113.10",) if node_port else (),
        external_ips=external,
        external_traffic_policy="Local" if local else "Cluster",
        session_affinity="ClientIP" if sticky else "None",
        load_balancer_source_ranges=ranges,
        internal_traffic_policy="Local" if inside else "Cluster",
    ),
    inside=st.booleans(),
    udp=st.booleans(),
    name=st.sampled_from(NAMES),
    local=st.booleans(),
    sticky=st.booleans(),
    # Two Services may claim one node port or address.
    node_port=st.sampled_from((0, 30001, 30002)),
    external=st.sampled_from(((), ("198.51.100.7",))),
    ranges=st.sampled_from(((), ("192.0.2.0/24",), ("172.18.0.0/16", "10.0.0.0/8"))),
)
slices = st.builds(
    lambda name, ips, elsewhere, ready, leaving: builders.endpoint_slice(
        [
            builders.entry(
                ip,
                "worker2" if elsewhere else "worker",
                ready=ready and not leaving,
                serving=ready,
                terminating=leaving,
            )
            for ip in ips
        ],
        name,
        ports=(("http", 8080, "TCP"), ("http", 8080, "UDP")),
    ),
    leaving=st.booleans(),
    name=st.sampled_from(NAMES),
    ips=st.lists(st.sampled_from(IPS), unique=True),
    elsewhere=st.booleans(),
    ready=st.booleans(),
)
steps = st.lists(st.one_of(services, slices, st.tuples(st.booleans(), st.sampled_from(NAMES))))


def change(tracker: ChangeTracker, step: Service | EndpointSlice | tuple[bool, str]) -> None:
    """Put an object, or delete one by kind and name."""
    if isinstance(step, Service):
        tracker.service_changed(None, families.told_object(step))
    elif isinstance(step, EndpointSlice):
        tracker.slice_changed(None, families.told_object(step))
    elif step[0]:
        tracker.service_changed(families.told_object(builders.service(step[1])), None)
    else:
        gone = builders.endpoint_slice((), step[1])
        tracker.slice_changed(families.told_object(gone), None)


@pytest.fixture(name="family", params=list(Family))
def either_family(request: pytest.FixtureRequest) -> Iterator[Family]:
    """Each family in turn; addresses are of it meanwhile."""
    with families.speaking(request.param):
        yield request.param


def carried_out(table: Table, delta: Delta) -> Table:
    """What the kernel has after a delta, stale chains deleted; refuses what the kernel would refuse."""
    chains = {n: r for n, r in table.chains.items() if n not in delta.stale | delta.gone}
    assert delta.new.isdisjoint(table.chains)
    assert set(delta.chains) - delta.new <= set(table.chains)
    chains |= delta.chains
    elements = {name: dict(found) for name, found in table.elements.items()}
    for name, keys in delta.remove.items():
        for key in keys:
            del elements[name][key]
    for name, added in delta.add.items():
        assert not set(added) & set(elements[name])
        elements[name] |= added
    assert delta.gone_sets <= set(table.affinity)
    affinity = {n: s for n, s in table.affinity.items() if n not in delta.gone_sets}
    assert not set(delta.affinity) & set(affinity)
    after = dataclasses.replace(
        table, chains=chains, elements=elements, affinity={**affinity, **delta.affinity}
    )
    named = {
        w[1:] for rules in chains.values() for r in rules for w in r.split(" ") if w[:1] == "@"
    }
    assert {name for name in named if "/" in name} <= set(after.affinity)
    return after


@settings(max_examples=100, deadline=None, suppress_health_check=FIXTURE)
@given(steps)
def test_nftables_differences_add_up(
    family: Family,
    changes: list[Service | EndpointSlice | tuple[bool, str]],
) -> None:
    """Partial syncs, one per change, lead to the table of one full sync; a restart then finds nothing to do."""
    tracker = ChangeTracker("worker", family)
    config = families.told_config(builders.CONFIG)
    compiled = Compiled(config)
    kernel = nftables.base(config)
    for step in changes:
        change(tracker, step)
        compiled.update(tracker.take(), tracker.model)
        kernel = carried_out(kernel, compiled.pending())
        compiled.applied()
        assert not compiled.pending()
    final = nftables.compile(tracker.model, config)
    assert kernel == final == compiled.desired
    assert not difference(final, kernel)


@settings(max_examples=100, deadline=None, suppress_health_check=FIXTURE)
@given(steps)
def test_iptables_differences_add_up(
    family: Family,
    changes: list[Service | EndpointSlice | tuple[bool, str]],
) -> None:
    """The same for iptables mode."""
    tracker = ChangeTracker("worker", family)
    config = families.told_config(builders.CONFIG)
    compiled = IptablesCompiled(config)
    first = compiled.against({})
    kernel: dict[str, dict[str, tuple[str, ...]]] = {t: dict(c) for t, c in first.changed.items()}
    compiled.applied()
    for step in changes:
        change(tracker, step)
        compiled.update(tracker.take(), tracker.model)
        delta = compiled.pending()
        for table, chains in delta.changed.items():
            kernel[table] |= chains
        for table, names in delta.stale.items():
            for name in names:
                del kernel[table][name]
        compiled.applied()
    final: Ruleset = iptables.compile(tracker.model, config)
    assert kernel == final


def carried_out_ipvs(kernel: Ipvs, delta: ipvs_compiled.Delta) -> Ipvs:
    """What the kernel has after a delta; refuses what the kernel would refuse."""
    by_place = {server.place: (server, real) for server, real in kernel.servers.items()}
    sets = {name: set(members) for name, members in kernel.sets.items()}
    for name, members in delta.add_members.items():
        assert not members & sets[name]
        sets[name] |= members
    by_place |= {server.place: (server, real) for server, real in delta.servers}
    assert not delta.bind & kernel.addresses
    assert delta.unbind <= kernel.addresses
    for place in delta.gone:
        del by_place[place]
    for name, members in delta.remove_members.items():
        assert members <= sets[name]
        sets[name] -= members
    rules = {table: dict(chains) for table, chains in kernel.rules.items()}
    for table, chains in delta.rules.changed.items():
        rules.setdefault(table, {}).update(chains)
    assert not any(delta.rules.stale.values())
    return Ipvs(
        servers=dict(by_place.values()),
        addresses=(kernel.addresses | delta.bind) - delta.unbind,
        sets=sets,
        rules=rules,
    )


@settings(max_examples=100, deadline=None, suppress_health_check=FIXTURE)
@given(steps)
def test_ipvs_differences_add_up(
    family: Family,
    changes: list[Service | EndpointSlice | tuple[bool, str]],
) -> None:
    """The same for IPVS mode: virtual servers, addresses, sets and helper rules."""
    tracker = ChangeTracker("worker", family)
    config = families.told_config(builders.CONFIG)
    compiled = ipvs_compiled.Compiled(config)
    compiled.rebuild(tracker.model)
    kernel = carried_out_ipvs(Ipvs(sets={name: set() for name in Set}), compiled.pending())
    compiled.applied()
    for step in changes:
        change(tracker, step)
        compiled.update(tracker.take(), tracker.model)
        kernel = carried_out_ipvs(kernel, compiled.pending())
        compiled.applied()
        assert not compiled.pending()
    final = ipvs_compiled.compile(tracker.model, config)
    assert kernel == final == compiled.desired()
    jumps = {table: {rule.split(" ", 2)[1]: () for _, rule in JUMPS} for table in final.rules}
    for table, rule in JUMPS:
        jumps[table][rule.split(" ", 2)[1]] += (rule,)  # type: ignore[assignment]
    saved = {table: {**final.rules[table], **jumps[table]} for table in final.rules}
    assert not compiled.against(kernel, saved)


def test_unknown_lines_of_a_list_do_no_harm() -> None:
    """A table somebody else made parses to nothing of ours."""
    assert parse_list("table ip kube-proxy {\n}\n") == Table()
