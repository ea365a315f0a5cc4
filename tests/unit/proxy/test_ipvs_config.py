"""Settings of IPVS mode out of ConfigMap kube-system/kube-proxy, and what of a mode goes when another stays."""

from ipaddress import ip_network

import pytest

from netpod.api.core import ConfigMap
from netpod.api.meta import ObjectMeta
from netpod.errors import BadRequest
from netpod.proxy import configmap, iptables, ipvs_compiled, ipvs_rules, owners
from netpod.proxy.config import Mode
from netpod.proxy.ipvs_config import IpvsConfig, Scheduler
from tests.unit.proxy import builders

NOW = IpvsConfig(scheduler=Scheduler.WLC, udp_timeout=7)


def said(section: str, **nodes: str) -> IpvsConfig:
    """What a ConfigMap with this section `ipvs` makes of the settings of now, for node `worker`."""
    data = {configmap.KEY: f"mode: ipvs\nipvs: {section}\n"}
    data |= {configmap.node_key(name): f"ipvs: {text}\n" for name, text in nodes.items()}
    made = ConfigMap(metadata=ObjectMeta(name=configmap.NAME), data=data)
    return configmap.ipvs(made, "worker", NOW)


def test_every_field_is_taken() -> None:
    """Upstream's names and durations."""
    found = said(
        "{scheduler: sh, strictARP: true, excludeCIDRs: [192.0.2.0/24, 'fd00::/8'], tcpTimeout: 15m, "
        "tcpFinTimeout: 1m30s, udpTimeout: 5s, syncPeriod: 30s, minSyncPeriod: 0s}"
    )
    assert found == IpvsConfig(
        scheduler=Scheduler.SH,
        strict_arp=True,
        exclude_cidrs=(ip_network("192.0.2.0/24"), ip_network("fd00::/8")),
        tcp_timeout=900,
        tcp_fin_timeout=90,
        udp_timeout=5,
    )


@pytest.mark.parametrize(
    "section", ["", "{}", "{scheduler: '', udpTimeout: 0s, excludeCIDRs: null}"]
)
def test_what_is_not_said_stays(section: str) -> None:
    """Empty fields mean the default, as upstream's."""
    found = said(section)
    assert (found.scheduler, found.exclude_cidrs) == (Scheduler.WLC, ())


def test_a_nodes_own_configuration_counts() -> None:
    """And nobody else's."""
    assert (
        said("{scheduler: rr}", worker="{scheduler: lc}", worker2="{scheduler: dh}").scheduler
        == "lc"
    )
    assert configmap.ipvs(None, "worker", NOW) == NOW


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("{scheduler: random}", "cannot use IPVS scheduler 'random': there are rr, wrr"),
        ("{strictARP: maybe}", "ipvs.strictARP: 'maybe' is not true or false"),
        ("{excludeCIDRs: 10.0.0.0/8}", "ipvs.excludeCIDRs: '10.0.0.0/8' is no list"),
        ("{excludeCIDRs: [10.0.0.1/8]}", "ipvs.excludeCIDRs: 10.0.0.1/8 has host bits set"),
        ("{tcpTimeout: 15}", "ipvs.tcpTimeout: '15' is no duration like 15m"),
        ("[rr]", "ipvs: ['rr'] is no mapping"),
    ],
)
def test_bad_settings_are_named(section: str, words: str) -> None:
    """Which field, what was found, what is allowed."""
    with pytest.raises(BadRequest) as caught:
        said(section)
    assert str(caught.value).startswith("cannot use configmap kube-system/kube-proxy: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("goes", "stays"), [(Mode.IPTABLES, Mode.IPVS), (Mode.IPVS, Mode.IPTABLES)]
)
def test_what_both_modes_have_stays(goes: Mode, stays: Mode) -> None:
    """Taken away is exactly what the mode that stays does not have; without one, everything of the mode."""
    case = builders.cases()["web-local"]
    rules = {
        Mode.IPTABLES: iptables.compile(case, builders.CONFIG),
        Mode.IPVS: ipvs_compiled.compile(case, builders.CONFIG).rules,
    }
    jumps = {Mode.IPTABLES: iptables.JUMPS, Mode.IPVS: ipvs_rules.JUMPS}
    observed: dict[str, dict[str, tuple[str, ...]]] = {}
    for mode in (goes, stays):  # the rules of the mode that stays were written last
        for table, chains in rules[mode].items():
            observed.setdefault(table, {}).update(chains)
    for table, rule in {*jumps[goes], *jumps[stays]}:
        chain = rule.split(" ", 2)[1]
        observed[table][chain] = (*observed[table].get(chain, ()), rule)
    doomed, out = owners.taken_away(observed, goes, but=stays)
    left = {
        table: {
            chain: tuple(r for r in found if r not in out[table].get(chain, ()))
            for chain, found in chains.items()
            if chain not in doomed[table]
        }
        for table, chains in observed.items()
    }
    for table, chains in rules[stays].items():
        assert {c: r for c, r in left[table].items() if c in chains} == chains
        extra = [c for c in left[table] if c.startswith("KUBE-") and c not in chains]
        assert not extra
    kept = {(t, r) for t, chains in left.items() for found in chains.values() for r in found}
    assert kept >= set(jumps[stays])
    assert not kept & (set(jumps[goes]) - set(jumps[stays]))
    alone, _ = owners.taken_away(observed, goes)
    assert {c for chains in rules[goes].values() for c in chains} <= {
        c for chains in alone.values() for c in chains
    }
