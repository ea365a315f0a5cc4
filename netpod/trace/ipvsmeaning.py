"""What the helper rules of kube-proxy's IPVS mode mean (pure).

They look destinations up in ipsets and choose nothing: that is done by the virtual server, which has no rule.
Source: kubernetes pkg/proxy/ipvs/README.md and proxier.go.
"""

import re

_MATCH = re.compile(r"--match-set (KUBE-(?:6-)?)(\S+)")
_CHAINS = (
    ("KUBE-SERVICES", "-j RETURN", "from the node's loopback: not masqueraded"),
    ("KUBE-SERVICES", "-j KUBE-NODE-PORT", "the destination is this node: look among the node ports"),
    ("KUBE-SERVICES", "-j KUBE-LOAD-BALANCER", "a load balancer's address"),
    ("KUBE-SERVICES", "-j ACCEPT", "a Service's address: on to its virtual server"),
    ("KUBE-LOAD-BALANCER", "-j RETURN", "externalTrafficPolicy Local: the source stays"),
    ("KUBE-LOAD-BALANCER", "-j KUBE-MARK-MASQ", "mark for masquerading: through a load balancer"),
    ("KUBE-NODE-PORT", "-j RETURN", "externalTrafficPolicy Local: the source stays"),
    ("KUBE-NODE-PORT", "-j KUBE-MARK-MASQ", "mark for masquerading: through a node port"),
    ("KUBE-NODE-PORT", "-j ACCEPT", "a health check's node port"),
    ("KUBE-POSTROUTING", "LOOP-BACK", "the endpoint reaches itself: masquerade (hairpin)"),
    ("KUBE-PROXY-FIREWALL", "-j KUBE-SOURCE-RANGES-FIREWALL", "its load balancer has source ranges"),
    ("KUBE-SOURCE-RANGES-FIREWALL", "-j RETURN", "a source that the load balancer accepts"),
    ("KUBE-SOURCE-RANGES-FIREWALL", "-j DROP", "a source that the load balancer does not accept"),
    ("KUBE-IPVS-FILTER", "-j RETURN", "a Service's own port: on to its virtual server"),
    ("KUBE-IPVS-FILTER", "-j REJECT", "a Service's address, but no port of it"),
    ("KUBE-IPVS-OUT-FILTER", "-j DROP", "this node may not use that load balancer"),
)  # fmt: skip
_SHARED = ("KUBE-SERVICES", "KUBE-POSTROUTING")
"""Chains that iptables mode has too."""
_OWN = re.compile(r"-j KUBE-NODE-PORT$|^(?:-A \S+ )?-s (?:127\.0\.0\.0/8|::1/128) -j RETURN$")
_MARKED = {
    "CLUSTER-IP": "mark for masquerading: to a cluster IP from outside the pods",
    "EXTERNAL-IP": "mark for masquerading: to an external IP",
}


def meaning(chain: str, target: str, text: str) -> str:
    """Say what a rule means; "" when it is none that only IPVS mode has."""
    match = _MATCH.search(text)
    if match is not None and chain == "KUBE-SERVICES" and target == "KUBE-MARK-MASQ":
        return _MARKED.get(match[2], "")
    if match is None and chain in _SHARED and not _OWN.search(text):
        return ""
    return next((words for where, part, words in _CHAINS if where == chain and part in text), "")
