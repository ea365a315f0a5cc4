"""Rules for NetworkPolicies.

Source: pkg/apis/networking/validation/validation.go ValidateNetworkPolicySpec.
"""

import ipaddress

from netpod.api import validate_addresses, validate_meta, validate_names
from netpod.api.networkpolicy import IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort
from netpod.api.validate_errors import Errors, index

PROTOCOLS = ("TCP", "UDP", "SCTP")
POLICY_TYPES = ("Ingress", "Egress")


def network_policy(errors: Errors, obj: NetworkPolicy) -> None:
    """Check a NetworkPolicy."""
    spec = obj.spec
    validate_meta.label_selector(errors, spec.pod_selector, "spec.podSelector")
    for position, rule in enumerate(spec.ingress):
        path = index("spec.ingress", position)
        _ports(errors, rule.ports, f"{path}.ports")
        _peers(errors, rule.from_, f"{path}.from")
    for position, out in enumerate(spec.egress):
        path = index("spec.egress", position)
        _ports(errors, out.ports, f"{path}.ports")
        _peers(errors, out.to, f"{path}.to")
    if len(spec.policy_types) > len(POLICY_TYPES):
        detail = "may not specify more than two policyTypes"
        errors.invalid("spec.policyTypes", list(spec.policy_types), detail)
        return
    for position, kind in enumerate(spec.policy_types):
        if kind not in POLICY_TYPES:
            errors.refuse(index("spec.policyTypes", position), kind, POLICY_TYPES)


def _ports(errors: Errors, ports: tuple[NetworkPolicyPort, ...], path: str) -> None:
    for position, port in enumerate(ports):
        at = index(path, position)
        if port.protocol is not None:
            if port.protocol not in PROTOCOLS:
                errors.refuse(f"{at}.protocol", port.protocol, PROTOCOLS)
        if port.port is None:
            if port.end_port is not None:
                errors.required(f"{at}.port", "must be specified when `endPort` is specified")
        elif isinstance(port.port, int):
            errors.each(f"{at}.port", port.port, validate_names.port_number(port.port))
            if port.end_port is not None:
                if port.end_port < port.port:
                    detail = "must be greater than or equal to `port`"
                    errors.invalid(f"{at}.endPort", port.end_port, detail)
                problems = validate_names.port_number(port.end_port)
                errors.each(f"{at}.endPort", port.end_port, problems)
        else:
            if port.end_port is not None:
                detail = "may not be specified when `port` is non-numeric"
                errors.invalid(f"{at}.endPort", port.end_port, detail)
            errors.each(f"{at}.port", port.port, validate_names.port_name(str(port.port)))


def _peers(errors: Errors, peers: tuple[NetworkPolicyPeer, ...], path: str) -> None:
    for position, peer in enumerate(peers):
        at = index(path, position)
        given = 0
        for name, selector in (
            ("podSelector", peer.pod_selector),
            ("namespaceSelector", peer.namespace_selector),
        ):
            if selector is not None:
                given += 1
                validate_meta.label_selector(errors, selector, f"{at}.{name}")
        if peer.ip_block is not None:
            _block(errors, peer.ip_block, f"{at}.ipBlock")
            if given:
                detail = "may not specify both ipBlock and another peer"
                errors.forbidden(at, detail)
        elif not given:
            errors.required(at, "must specify a peer")


def _block(errors: Errors, block: IPBlock, path: str) -> None:
    if not block.cidr:
        errors.required(f"{path}.cidr")
        return
    outer = _network(block.cidr)
    if outer is None:
        errors.invalid(f"{path}.cidr", block.cidr, validate_addresses.BAD_CIDR)
        return
    for position, text in enumerate(block.except_):
        at = index(f"{path}.except", position)
        inner = _network(text)
        if inner is None:
            errors.invalid(at, text, validate_addresses.BAD_CIDR)
        elif (
            inner.version != outer.version
            or inner.network_address not in outer
            or inner.prefixlen <= outer.prefixlen
        ):
            errors.invalid(at, text, "must be a strict subset of `cidr`")


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Return the network of a CIDR, None when the text is none."""
    if not validate_addresses.is_cidr(text):
        return None
    return ipaddress.ip_network(text, strict=False)
