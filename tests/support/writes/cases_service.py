"""Services: what is allocated, what may change, what goes and comes with the type."""

from collections.abc import Iterator
from typing import Any

Json = Any
Steps = list[Json]

S: Json = {"create": "Service"}
PLAIN = {
    "spec.sessionAffinity": None,
    "spec.sessionAffinityConfig": None,
    "spec.ports": [{"port": 80, "protocol": "TCP"}],
}
TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "headless")


def made(kind: str, **more: Json) -> Json:
    """The step that creates a plain Service of a type; `more` has __ for the dots of paths."""
    changes: Json = dict(PLAIN)
    changes["spec.type"] = "ClusterIP" if kind == "headless" else kind
    if kind == "headless":
        changes["spec.clusterIP"] = "None"
    if kind == "ExternalName":
        changes["spec.externalName"] = "example.com"
    changes |= {f"spec.{path.replace('__', '.')}": value for path, value in more.items()}
    return {"create": "Service", "set": changes}


def transitions() -> Iterator[tuple[str, Steps]]:
    """From every type to every other: by a patch of the type alone, by an update, and by a whole new object."""
    for before in TYPES:
        for after in TYPES:
            if before == after:
                continue
            change: Json = {"type": "ClusterIP" if after == "headless" else after}
            if after == "headless":
                change["clusterIP"] = "None"
            if after == "ExternalName":
                change["externalName"] = "example.com"
            name = f"{before} to {after}"
            yield f"{name} by patch", [made(before), {"merge": {"spec": change}}]
            put = {f"spec.{key}": value for key, value in change.items()}
            yield f"{name} by update", [made(before), {"put": put}]
            cleared = {
                **put,
                "spec.clusterIPs": None,
                "spec.ipFamilies": None,
                "spec.ipFamilyPolicy": None,
            }
            if after != "headless":
                cleared["spec.clusterIP"] = None
            yield f"{name} by update without addresses", [made(before), {"put": cleared}]
            whole = dict(put)
            if before == "headless":
                whole["spec.clusterIP"] = None
            if before == "ExternalName":
                whole["spec.externalName"] = None
            yield f"{name} by replacement", [made(before), {"replace": whole}]
            yield (
                f"{name} and back",
                [
                    made(before),
                    {"merge": {"spec": change}},
                    {"merge": {"spec": {"type": "ClusterIP" if before == "headless" else before}}},
                ],
            )


def addresses() -> Iterator[tuple[str, Steps]]:
    """Cluster IPs: given, taken, out of range, changed, cleared."""
    given = "10.96.77.7"
    for value in (
        given,
        "10.96.0.0",
        "10.96.255.255",
        "10.97.0.1",
        "192.168.0.1",
        "fd00::1",
        "none",
        "NONE",
        "",
        "1.2.3",
        "10.96.077.7",
    ):
        yield f"clusterIP {value!r}", [made("ClusterIP", clusterIP=value)]
    yield "clusterIP taken", [made("ClusterIP", clusterIP="10.96.0.1")]
    yield "clusterIPs alone", [made("ClusterIP", clusterIPs=[given])]
    yield (
        "clusterIP and clusterIPs differ",
        [made("ClusterIP", clusterIP=given, clusterIPs=["10.96.77.8"])],
    )
    yield "clusterIPs None and an address", [made("ClusterIP", clusterIPs=["None", given])]
    yield "clusterIPs address and None", [made("ClusterIP", clusterIPs=[given, "None"])]
    yield "clusterIPs twice one family", [made("ClusterIP", clusterIPs=[given, "10.96.77.8"])]
    yield "clusterIPs three", [made("ClusterIP", clusterIPs=[given, "fd00:10:96::7", "10.96.77.8"])]
    yield "clusterIPs empty string", [made("ClusterIP", clusterIPs=[""])]
    yield "clusterIPs no address", [made("ClusterIP", clusterIPs=["abc"])]
    yield "clusterIPs second no address", [made("ClusterIP", clusterIPs=[given, "abc"])]
    for kind in ("ClusterIP", "NodePort", "headless"):
        yield (
            f"{kind}: change clusterIP",
            [made(kind), {"merge": {"spec": {"clusterIP": "10.96.77.9"}}}],
        )
        yield (
            f"{kind}: change clusterIPs",
            [made(kind), {"merge": {"spec": {"clusterIPs": ["10.96.77.9"]}}}],
        )
        yield (
            f"{kind}: change both",
            [
                made(kind),
                {"merge": {"spec": {"clusterIP": "10.96.77.9", "clusterIPs": ["10.96.77.9"]}}},
            ],
        )
        yield f"{kind}: clear clusterIP", [made(kind), {"put": {"spec.clusterIP": None}}]
        yield f"{kind}: clear clusterIPs", [made(kind), {"put": {"spec.clusterIPs": None}}]
        yield f"{kind}: empty clusterIP", [made(kind), {"put": {"spec.clusterIP": ""}}]
        yield f"{kind}: to None", [made(kind), {"merge": {"spec": {"clusterIP": "None"}}}]
        yield (
            f"{kind}: to None in both",
            [
                made(kind),
                {"merge": {"spec": {"clusterIP": "None", "clusterIPs": ["None"]}}},
            ],
        )
        yield f"{kind}: replaced whole", [made(kind), {"replace": {"spec.selector.app": "other"}}]
    for kind in ("NodePort", "LoadBalancer"):
        yield f"{kind} with clusterIP None", [made(kind, clusterIP="None")]
        yield f"{kind} with clusterIPs None", [made(kind, clusterIPs=["None"])]
    yield "ExternalName with clusterIP", [made("ExternalName", clusterIP=given)]
    yield "ExternalName with clusterIPs", [made("ExternalName", clusterIPs=[given])]
    yield "ExternalName with clusterIP None", [made("ExternalName", clusterIP="None")]
    for name in (
        "",
        "Example.com",
        "example.com.",
        "-a.b",
        "a_b.c",
        "10.0.0.1",
        "a" * 64 + ".b",
        "*.a.b",
    ):
        yield f"externalName {name[:20]!r}", [made("ExternalName", externalName=name)]
    yield "ExternalName without ports", [made("ExternalName", ports=None)]
    yield "ExternalName without selector", [made("ExternalName", selector=None)]
    yield "headless without ports", [made("headless", ports=None)]
    yield "headless without selector", [made("headless", selector=None)]
    yield "no selector", [made("ClusterIP", selector=None)]
    yield "no ports", [made("ClusterIP", ports=None)]
    yield "no spec", [{"create": "Service", "set": {"spec": None}}]
    yield "dry run", [{**made("NodePort"), "query": {"dryRun": "All"}}]
    yield (
        "dry run of an update",
        [made("ClusterIP"), {"merge": {"spec": {"type": "NodePort"}}, "query": {"dryRun": "All"}}],
    )


def node_ports() -> Iterator[tuple[str, Steps]]:
    """Node ports: given, taken, out of range, changed, kept and given back."""
    port: Json = {"port": 80, "nodePort": 30777}
    for number in (30777, 29999, 32768, 1, -1, 70000):
        yield f"nodePort {number}", [made("NodePort", ports=[{**port, "nodePort": number}])]
    yield "nodePort on ClusterIP", [made("ClusterIP", ports=[port])]
    yield "nodePort on ExternalName", [made("ExternalName", ports=[port])]
    yield "nodePort on headless", [made("headless", ports=[port])]
    two: Json = [{"name": "a", **port}, {"name": "b", "port": 81, "nodePort": 30777}]
    yield "nodePort twice, one protocol", [made("NodePort", ports=two)]
    udp: Json = [
        {"name": "a", **port},
        {"name": "b", "port": 80, "protocol": "UDP", "nodePort": 30777},
    ]
    yield "nodePort twice, two protocols", [made("NodePort", ports=udp)]
    yield (
        "change nodePort",
        [made("NodePort", ports=[port]), {"put": {"spec.ports[0].nodePort": 30778}}],
    )
    yield (
        "remove nodePort",
        [made("NodePort", ports=[port]), {"put": {"spec.ports[0].nodePort": None}}],
    )
    yield "change port, keep nodePort", [made("NodePort"), {"put": {"spec.ports[0].port": 81}}]
    yield (
        "add a port",
        [
            made("NodePort"),
            {"put": {"spec.ports[0].name": "a", "spec.ports[1]": {"name": "b", "port": 81}}},
        ],
    )
    yield "change protocol", [made("NodePort"), {"put": {"spec.ports[0].protocol": "UDP"}}]
    yield (
        "to ClusterIP with its nodePort changed",
        [
            made("NodePort"),
            {"put": {"spec.type": "ClusterIP", "spec.ports[0].nodePort": 30779}},
        ],
    )
    yield (
        "to ClusterIP with another port",
        [
            made("NodePort"),
            {"put": {"spec.type": "ClusterIP", "spec.ports[0].port": 82}},
        ],
    )
    yield "SCTP on LoadBalancer", [made("LoadBalancer", ports=[{"port": 80, "protocol": "SCTP"}])]
    mixed: Json = [{"name": "a", "port": 80}, {"name": "b", "port": 80, "protocol": "UDP"}]
    yield "mixed protocols on LoadBalancer", [made("LoadBalancer", ports=mixed)]
    yield "kubelet's port on LoadBalancer", [made("LoadBalancer", ports=[{"port": 10250}])]
    yield "kubelet's port on NodePort", [made("NodePort", ports=[{"port": 10250}])]
    for changes in (
        {"name": ""},
        {"name": "A"},
        {"name": "a" * 64},
        {"port": 0},
        {"port": 65536},
        {"port": None},
        {"protocol": "tcp"},
        {"protocol": ""},
        {"targetPort": 0},
        {"targetPort": 65536},
        {"targetPort": ""},
        {"targetPort": "a-b--c"},
        {"targetPort": "x" * 16},
        {"targetPort": "1234"},
        {"targetPort": "Http"},
        {"targetPort": "-a"},
        {"appProtocol": ""},
        {"appProtocol": "a.b/c"},
        {"appProtocol": "A b"},
        {"targetPort": "a1"},
    ):
        yield f"port {changes}", [made("ClusterIP", ports=[{"port": 80, **changes}])]
    yield "two ports, no names", [made("ClusterIP", ports=[{"port": 80}, {"port": 81}])]
    yield (
        "two ports, one name",
        [made("ClusterIP", ports=[{"name": "a", "port": 80}, {"port": 81}])],
    )
    same: Json = [{"name": "a", "port": 80}, {"name": "a", "port": 81}]
    yield "two ports, the same name", [made("ClusterIP", ports=same)]
    yield (
        "the same port twice",
        [made("ClusterIP", ports=[{"name": "a", "port": 80}, {"name": "b", "port": 80}])],
    )


def cases() -> Iterator[tuple[str, Steps]]:
    """All of them, with their names."""
    for group in (transitions, addresses, node_ports):
        for name, steps in group():
            yield f"{group.__name__}: {name}", steps
