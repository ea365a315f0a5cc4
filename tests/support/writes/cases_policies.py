"""Services: affinity, traffic policies, source ranges, health check ports, external addresses, status."""

from collections.abc import Iterator
from typing import Any

from tests.support.writes.cases_service import TYPES, made

Json = Any
Steps = list[Json]


def policies() -> Iterator[tuple[str, Steps]]:
    """Affinity, traffic policies, source ranges, health check ports, classes, external addresses."""
    for kind in TYPES:
        for policy in ("Cluster", "Local", "Other", ""):
            yield (
                f"{kind} externalTrafficPolicy {policy!r}",
                [made(kind, externalTrafficPolicy=policy)],
            )
        yield f"{kind} healthCheckNodePort", [made(kind, healthCheckNodePort=30888)]
        local: Json = {"externalTrafficPolicy": "Local", "healthCheckNodePort": 30888}
        yield f"{kind} Local with healthCheckNodePort", [made(kind, **local)]
        yield (
            f"{kind} loadBalancerSourceRanges",
            [made(kind, loadBalancerSourceRanges=["10.0.0.0/8"])],
        )
        yield f"{kind} loadBalancerIP", [made(kind, loadBalancerIP="192.0.2.1")]
        yield (
            f"{kind} allocateLoadBalancerNodePorts false",
            [made(kind, allocateLoadBalancerNodePorts=False)],
        )
        yield f"{kind} externalIPs", [made(kind, externalIPs=["192.0.2.7"])]
        yield f"{kind} publishNotReadyAddresses", [made(kind, publishNotReadyAddresses=True)]
    for number in (-1, 0, 1, 70000, 30777):
        yield (
            f"healthCheckNodePort {number}",
            [
                made("LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=number),
            ],
        )
    lb = made("LoadBalancer", externalTrafficPolicy="Local")
    yield "Local to Cluster", [lb, {"merge": {"spec": {"externalTrafficPolicy": "Cluster"}}}]
    yield "Local to Cluster by update", [lb, {"put": {"spec.externalTrafficPolicy": "Cluster"}}]
    yield (
        "Cluster to Local",
        [made("LoadBalancer"), {"merge": {"spec": {"externalTrafficPolicy": "Local"}}}],
    )
    yield (
        "Local NodePort to LoadBalancer",
        [
            made("NodePort", externalTrafficPolicy="Local"),
            {"merge": {"spec": {"type": "LoadBalancer"}}},
        ],
    )
    yield "Local LoadBalancer to NodePort", [lb, {"merge": {"spec": {"type": "NodePort"}}}]
    yield "Local LoadBalancer to ClusterIP", [lb, {"merge": {"spec": {"type": "ClusterIP"}}}]
    yield (
        "Local LoadBalancer to ClusterIP by replacement",
        [
            lb,
            {"replace": {"spec.type": "ClusterIP", "spec.externalTrafficPolicy": None}},
        ],
    )
    yield "change healthCheckNodePort", [lb, {"put": {"spec.healthCheckNodePort": 30889}}]
    yield "clear healthCheckNodePort", [lb, {"put": {"spec.healthCheckNodePort": None}}]
    for ranges in (["10.0.0.0/8", "bad"], ["10.0.0.0"], [" 10.0.0.0/8 "], ["2001:db8::/32"], [""]):
        yield (
            f"loadBalancerSourceRanges {ranges}",
            [made("LoadBalancer", loadBalancerSourceRanges=ranges)],
        )
    for ranges in ("10.0.0.0/8,1.2.3.4/32", "bad", "", " 10.0.0.0/8 "):
        note = {
            "metadata.annotations": {
                "service.beta.kubernetes.io/load-balancer-source-ranges": ranges
            }
        }
        for kind in ("LoadBalancer", "ClusterIP"):
            step = made(kind)
            yield (
                f"{kind} source ranges annotation {ranges!r}",
                [{**step, "set": {**step["set"], **note}}],
            )
    for address in (
        "127.0.0.1",
        "0.0.0.0",
        "169.254.1.1",
        "224.0.0.1",
        "224.1.1.1",
        "abc",
        "fe80::1",
        "::1",
        "2001:db8::1",
        "10.0.0.01",
        "",
    ):
        yield f"externalIPs {address!r}", [made("ClusterIP", externalIPs=[address])]
    for affinity in ("None", "ClientIP", "Other", ""):
        yield f"sessionAffinity {affinity!r}", [made("ClusterIP", sessionAffinity=affinity)]
        for seconds in (None, 0, 1, 86400, 86401, -1):
            config = (
                {"clientIP": {"timeoutSeconds": seconds}}
                if seconds is not None
                else {"clientIP": {}}
            )
            yield (
                f"sessionAffinity {affinity!r} for {seconds}",
                [
                    made("ClusterIP", sessionAffinity=affinity, sessionAffinityConfig=config),
                ],
            )
    yield (
        "sessionAffinity ClientIP without config",
        [
            made("ClusterIP", sessionAffinity="ClientIP", sessionAffinityConfig={}),
        ],
    )
    yield (
        "sessionAffinity to None",
        [
            made("ClusterIP", sessionAffinity="ClientIP"),
            {"merge": {"spec": {"sessionAffinity": "None"}}},
        ],
    )
    yield (
        "sessionAffinity to None by update",
        [
            made("ClusterIP", sessionAffinity="ClientIP"),
            {"put": {"spec.sessionAffinity": "None", "spec.sessionAffinityConfig": None}},
        ],
    )
    for value in ("Other", ""):
        yield f"type {value!r}", [made("ClusterIP", type=value)]
    for ingress in (
        [{"ip": "192.0.2.1"}],
        [{"hostname": "lb.example.com"}],
        [{"ip": "bad"}],
        [{"hostname": "Bad_"}],
        [{"hostname": "192.0.2.1"}],
        [{"ip": "2001:db8::1"}],
        [{}],
    ):
        yield (
            f"status {ingress}",
            [
                made("LoadBalancer"),
                {"put": {"status": {"loadBalancer": {"ingress": ingress}}}, "sub": "status"},
            ],
        )
    yield (
        "status by an update of the whole",
        [
            made("LoadBalancer"),
            {"put": {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}},
        ],
    )
    yield (
        "status of a ClusterIP",
        [
            made("ClusterIP"),
            {
                "put": {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}},
                "sub": "status",
            },
        ],
    )
    yield (
        "spec by an update of the status",
        [made("ClusterIP"), {"put": {"spec.selector.app": "z"}, "sub": "status"}],
    )
    yield (
        "status goes with the type",
        [
            made("LoadBalancer"),
            {
                "put": {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}},
                "sub": "status",
            },
            {"merge": {"spec": {"type": "ClusterIP"}}},
        ],
    )
