"""Who answers whom: every kind of address, both traffic policies, every client, wherever the endpoints are.

The expectation is written down once more here, from the documentation of Services and not from the compilers, and
the packets decide.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from netpod.proxy.config import Mode
from tests.kernel.proxy import pair
from tests.kernel.proxy.pair import FAR, NEAR, OUTSIDE, WORKER, WORKER2, A, B, C
from tests.unit.proxy import builders

CLUSTER_IP, VIP, EXTERNAL, NODE_PORT = "10.96.45.12", "203.0.113.10", "203.0.113.20", 31080
PLACES = {"both nodes": (A, B, C), "near": (A, B), "far": (C,), "nowhere": ()}
ASKED = {1: 2, 2: 24, 3: 16}
"""Connections per number of endpoints: that all of them meet one of two by chance happens once in eight million."""
CLIENTS = {"pod": NEAR, "pod on another node": FAR, "node": WORKER, "outside": OUTSIDE}


@dataclass(frozen=True)
class Case:
    """One question."""

    client: str
    target: str
    internal_local: bool
    external_local: bool
    endpoints: tuple[str, ...]

    @property
    def entry(self) -> str:
        """The node whose rules the first packet meets."""
        return WORKER2 if self.client == FAR else WORKER

    @property
    def local(self) -> bool:
        """Whether the policy that counts for this address is Local."""
        return self.internal_local if self.target == "clusterIP" else self.external_local

    @property
    def here(self) -> tuple[str, ...]:
        """Endpoints on that node."""
        return tuple(pod for pod in self.endpoints if pair.NODE_OF[pod] == self.entry)

    @property
    def address(self) -> tuple[str, int]:
        """Where the client connects to."""
        node_port = (pair.NODES[self.entry], NODE_PORT)
        addresses = {"clusterIP": CLUSTER_IP, "loadBalancer": VIP, "externalIP": EXTERNAL}
        return node_port if self.target == "nodePort" else (addresses[self.target], 80)


def expected(case: Case, mode: Mode) -> set[str] | str:
    """Pods that may answer, or "refused" or "dropped"."""
    if not case.endpoints:
        # In iptables mode no rule refuses what a node itself sends to addresses that are not the node's own.
        unhooked = mode is Mode.IPTABLES and case.client == WORKER
        away = case.target in ("loadBalancer", "externalIP")
        return "dropped" if unhooked and away else "refused"
    if mode is Mode.IPVS:
        return expected_of_ipvs(case)
    # Pods and processes of the node are not external traffic: the external policy does not bind them.
    bound = case.local and (case.target == "clusterIP" or case.client == OUTSIDE)
    allowed = case.here if bound else case.endpoints
    return set(allowed) or "dropped"


def expected_of_ipvs(case: Case) -> set[str] | str:
    """The policy binds everybody there; where it finds nobody, the others serve, unmasqueraded.

    Their answers do not come back the way they should: they reach who asked with an address that was not asked.
    """
    if not case.local or case.here:
        return set(case.here if case.local else case.endpoints)
    away = case.target in ("loadBalancer", "externalIP")
    lost = (case.client == OUTSIDE and case.target != "clusterIP") or (
        case.client == WORKER and away
    )
    return "dropped" if lost else set(case.endpoints)


def source(case: Case, pod: str, mode: Mode) -> str:
    """The address the pod sees."""
    external = case.target != "clusterIP"
    if mode is Mode.IPVS and external and case.local and case.client == WORKER:
        # To a node every address of a Service is its own, and so the source of what it sends there.
        return case.address[0]
    sender = {NEAR: pair.PODS[NEAR], FAR: pair.PODS[FAR], OUTSIDE: pair.OUTSIDE_IP}
    pods = case.client in (NEAR, FAR)
    if case.target == "clusterIP":
        hidden = not pods
    else:
        hidden = not case.local or case.client == WORKER
    if not hidden:
        return sender[case.client]
    same = pair.NODE_OF[pod] == case.entry
    return pair.BRIDGES[case.entry] if same else pair.NODES[case.entry]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("internal", "external"),
    [("Cluster", "Cluster"), ("Local", "Local"), ("Cluster", "Local"), ("Local", "Cluster")],
)
def test_who_answers_whom(nodes: pair.Pair, place: str, internal: str, external: str) -> None:
    """Every client, every kind of address: exactly the allowed pods answer, and see the source they should."""
    made = builders.service(
        type="LoadBalancer",
        ports=(builders.port(node_port=NODE_PORT),),
        vips=(VIP,),
        external_ips=(EXTERNAL,),
        internal_traffic_policy=internal,
        external_traffic_policy=external,
    )
    entries = [
        builders.entry(pair.PODS[pod], pair.NODE_NAMES[pair.NODE_OF[pod]]) for pod in PLACES[place]
    ]
    nodes.put(made, builders.endpoint_slice(entries))
    mode = Mode(str(nodes.settings["mode"]))
    turned_away: dict[str, tuple[str, Future[tuple[str, str]]]] = {}
    # Together: IPv6 hears of a refusal only with its second SYN, for the first one's socket is still busy sending.
    with ThreadPoolExecutor(16) as asking:
        for target in ("clusterIP", "nodePort", "loadBalancer", "externalIP"):
            for who, client in CLIENTS.items():
                case = Case(
                    client=client,
                    target=target,
                    internal_local=internal == "Local",
                    external_local=external == "Local",
                    endpoints=PLACES[place],
                )
                wanted = expected(case, mode)
                said = f"{who} to {target}"
                if isinstance(wanted, str):
                    silent = wanted == "dropped"
                    fate = asking.submit(pair.fate, client, *case.address, silent=silent)
                    turned_away[said] = wanted, fate
                    continue
                seen = [pair.fate(client, *case.address) for _ in range(ASKED[len(wanted)])]
                assert {pod for pod, _ in seen} <= wanted, said
                assert {s for s in seen if s != (s[0], source(case, s[0], mode))} == set(), said
                if len(wanted) > 1:
                    assert len({pod for pod, _ in seen}) > 1, said
    for said, (wanted, fate) in turned_away.items():
        assert fate.result()[0] == wanted, said
    nodes.clear()


def test_a_pod_behind_its_own_service_sees_its_node(nodes: pair.Pair) -> None:
    """Hairpin: had it seen itself as the client, it would have answered itself past conntrack."""
    nodes.put(builders.service(), builders.endpoint_slice([builders.entry(pair.PODS[A])]))
    assert pair.fate(A, CLUSTER_IP) == (A, pair.BRIDGES[WORKER])
    nodes.clear()
