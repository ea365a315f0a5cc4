"""What rules in nft's own words mean: kube-proxy's nftables mode and policies, by chains, maps and sets (pure).

A Service's chains are called PREFIX-HASH-namespace/name/protocol/port, an endpoint's with __IP/port behind; a rule
that looks an address up in a map has the chain it found as its target.

Source: kubernetes pkg/proxy/nftables/README.md and proxier.go.
"""

import re

from netpod.ip import host_port

_SERVICE = re.compile(r"^(service|external|local|firewall|endpoint)-[A-Z0-9]{8}-(.+)$")
_POLICY = re.compile(r"^(ingress|egress)-[0-9a-f]{12}-")
_ISOLATED, _ALLOWED = (
    re.compile(r'comment "isolated by ([^"]+)"'),
    re.compile(r'return comment "([^"]+)"'),
)
_FOUR = re.compile(r"\d+(\.\d+){3}")
_NUMBERED = re.compile(r"numgen random mod (\d+)")
_MAPS = (
    ("@service-ips", "the address belongs to {to}"),
    ("@service-nodeports", "the node port belongs to {to}"),
    ("@firewall-ips", "its load balancer has source ranges: ask {to}"),
    ("@cluster-ips", "a cluster IP with no such port"),
)
_CHAINS = (
    ("mark-for-masquerade", "", "mark the packet for masquerading"),
    ("masquerading", "return", "not marked: the source stays"),
    ("masquerading", "mark set", "take the mark off, or it would be masqueraded twice"),
    ("masquerading", "masquerade", "masquerade: the source becomes this node's own"),
    ("reject-chain", "", "refuse: no endpoint can take it"),
    ("cluster-ips-check", "reject", "a cluster IP with no such port"),
    ("cluster-ips-check", "drop", "a cluster IP that no Service has"),
)


def service_of(chain: str) -> tuple[str, str, str] | None:
    """Read a chain's name: kind, service port as "namespace/name:port", endpoint as "IP:port" or ""."""
    match = _SERVICE.match(chain)
    if match is None:
        return None
    base, _, endpoint = match[2].partition("__")
    namespace, name, _, port = (*base.split("/"), "", "", "")[:4]
    ip, _, number = endpoint.partition("/")
    if not _FOUR.fullmatch(ip):
        # A colon would end the name.
        ip = ip.replace(".", ":")
    return (
        match[1],
        f"{namespace}/{name}" + (f":{port}" if port else ""),
        host_port(ip, number) if ip else "",
    )


def meaning(chain: str, target: str, text: str) -> str:
    """Say what a rule means; "" when it is neither of kube-proxy's nftables mode nor of a NetworkPolicy."""
    if words := _policy(chain, target, text):
        return words
    if "vmap @no-endpoint-" in text:
        # Upstream's two ways out: refuse when there is none at all, drop when there is none on this node.
        return "its Service has no endpoints" if target else "its Service has no local endpoints"
    for name, words in _MAPS:
        if f"vmap {name}" in text or (name == "@cluster-ips" and name in text):
            found = service_of(target)
            return words.format(to=f"Service {found[1]}" if found else "a Service")
    for where, part, words in _CHAINS:
        if chain == where and part in text:
            return words
    here, there = service_of(chain), service_of(target)
    if here is None:
        return ""
    kind, service, endpoint = here
    if there is not None and there[0] == "endpoint":
        return _choice(kind, there[1], there[2], text)
    if kind == "endpoint":
        return _endpoint(service, endpoint, target, text)
    if kind == "firewall":
        return f"its source may not use the load balancer of {service}"
    if target == "mark-for-masquerade":
        return f"mark for masquerading: external traffic to {service}"
    if there is not None:
        return {
            "service": "choose any endpoint in the cluster",
            "local": "choose an endpoint on this node",
        }.get(there[0], "")
    return ""


def _policy(chain: str, target: str, text: str) -> str:
    """The rules of netpod/policy/compile.py."""
    if asked := _POLICY.match(target):
        who = "sender" if asked[1] == "egress" else "receiver"
        return f"policies choose the {who}: ask for its {asked[1]}"
    found = _POLICY.match(chain)
    if found is None:
        return ""
    if isolated := _ISOLATED.search(text):
        return f"NetworkPolicy {isolated[1]} allows no such {found[1]}"
    if allowed := _ALLOWED.search(text):
        return f"NetworkPolicy {allowed[1]} allows this {found[1]}"
    return ""


def _choice(kind: str, service: str, endpoint: str, text: str) -> str:
    drawn = _NUMBERED.search(text)
    if "@affinity-" in text:
        return f"endpoint {endpoint} of {service}: this client was there before (sessionAffinity)"
    if drawn is None:
        return f"endpoint {endpoint} of {service}"
    where = " on this node" if kind == "local" else ""
    return f"1 of {drawn[1]} endpoints of {service}{where}, each as likely: {endpoint}"


def _endpoint(service: str, endpoint: str, target: str, text: str) -> str:
    if "dnat to" in text:
        return f"send to endpoint {endpoint} of {service}"
    if target == "mark-for-masquerade":
        return "the endpoint reaches itself: mark for masquerading (hairpin)"
    if "update @affinity-" in text or "add @affinity-" in text:
        return f"remember the client for {service} (sessionAffinity)"
    return ""
