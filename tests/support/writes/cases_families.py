"""Address families of Services, on a cluster of one and of two."""

from collections.abc import Iterator
from typing import Any

from tests.support.writes.cases_service import made

Json = Any
Steps = list[Json]


def families() -> Iterator[tuple[str, Steps]]:
    """Address families, on a cluster of one and of two."""
    policies = ("SingleStack", "PreferDualStack", "RequireDualStack", "Other", "")
    lists = (
        None,
        ["IPv4"],
        ["IPv6"],
        ["IPv4", "IPv6"],
        ["IPv6", "IPv4"],
        ["IPv4", "IPv4"],
        ["ipv4"],
        ["IPv4", "IPv6", "IPv4"],
    )
    for kind in ("ClusterIP", "headless"):
        for policy in policies:
            for listed in lists:
                yield (
                    f"{kind} {policy!r} {listed}",
                    [made(kind, ipFamilyPolicy=policy, ipFamilies=listed)],
                )
    for policy in policies[:3]:
        yield (
            f"headless without selector {policy}",
            [made("headless", selector=None, ipFamilyPolicy=policy)],
        )
        yield f"ExternalName {policy}", [made("ExternalName", ipFamilyPolicy=policy)]
        for listed in (
            ["10.96.77.7"],
            ["fd00:10:96::77"],
            ["10.96.77.7", "fd00:10:96::77"],
            ["fd00:10:96::77", "10.96.77.7"],
        ):
            yield (
                f"{policy} with {listed}",
                [made("ClusterIP", ipFamilyPolicy=policy, clusterIPs=listed)],
            )
            yield (
                f"{policy} IPv4 with {listed}",
                [
                    made(
                        "ClusterIP", ipFamilyPolicy=policy, ipFamilies=["IPv4"], clusterIPs=listed
                    ),
                ],
            )
    yield "ExternalName with families", [made("ExternalName", ipFamilies=["IPv4"])]
    yield "headless without selector, no policy", [made("headless", selector=None)]
    yield (
        "both addresses, no policy",
        [made("ClusterIP", clusterIPs=["10.96.77.7", "fd00:10:96::77"])],
    )
    for before in policies[:3]:
        for after in policies[:3]:
            if before != after:
                yield (
                    f"{before} to {after}",
                    [
                        made("ClusterIP", ipFamilyPolicy=before),
                        {"merge": {"spec": {"ipFamilyPolicy": after}}},
                    ],
                )
                yield (
                    f"headless {before} to {after}",
                    [
                        made("headless", ipFamilyPolicy=before),
                        {"merge": {"spec": {"ipFamilyPolicy": after}}},
                    ],
                )
    dual = made("ClusterIP", ipFamilyPolicy="PreferDualStack")
    yield "change the first family", [made("ClusterIP"), {"put": {"spec.ipFamilies": ["IPv6"]}}]
    yield "change the order", [dual, {"put": {"spec.ipFamilies": ["IPv6", "IPv4"]}}]
    yield "drop the second family alone", [dual, {"put": {"spec.ipFamilies": ["IPv4"]}}]
    yield (
        "drop the second of everything",
        [
            dual,
            {
                "put": {
                    "spec.ipFamilies": ["IPv4"],
                    "spec.clusterIPs[1]": None,
                    "spec.ipFamilyPolicy": "SingleStack",
                }
            },
        ],
    )
    yield (
        "dual to ExternalName",
        [dual, {"merge": {"spec": {"type": "ExternalName", "externalName": "a.b"}}}],
    )
    yield "dual to NodePort", [dual, {"merge": {"spec": {"type": "NodePort"}}}]
    yield "clear families", [dual, {"put": {"spec.ipFamilies": None, "spec.ipFamilyPolicy": None}}]
    yield (
        "add the second family alone",
        [made("ClusterIP"), {"put": {"spec.ipFamilies": ["IPv4", "IPv6"]}}],
    )
