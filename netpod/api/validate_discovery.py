"""Rules for EndpointSlices and Endpoints: what kube-proxy is told to send packets to.

Source: pkg/apis/discovery/validation/validation.go; pkg/apis/core/validation/endpoints.go.
"""

from ipaddress import ip_address

from netpod.api import validate_addresses, validate_names
from netpod.api.core import EndpointAddress, Endpoints, EndpointsPort
from netpod.api.discovery import Endpoint, EndpointPort, EndpointSlice
from netpod.api.validate_errors import Errors, index
from netpod.api.validate_service import PROTOCOLS, protocol

MAX_ENDPOINTS = 1000
MAX_PORTS = 20_000
MAX_ADDRESSES = 100
MAX_HINTS = 8


def endpoint_slice(errors: Errors, obj: EndpointSlice) -> None:
    """Check an EndpointSlice."""
    if obj.address_type:
        errors.supported("addressType", obj.address_type, ("IPv4", "IPv6", "FQDN"))
    else:
        errors.required("addressType")
    if len(obj.endpoints) > MAX_ENDPOINTS:
        errors.too_many("endpoints", len(obj.endpoints), MAX_ENDPOINTS)
    else:
        for position, endpoint in enumerate(obj.endpoints):
            _endpoint(errors, endpoint, obj.address_type, index("endpoints", position))
    if len(obj.ports) > MAX_PORTS:
        errors.too_many("ports", len(obj.ports), MAX_PORTS)
        return
    names: set[str] = set()
    for position, port in enumerate(obj.ports):
        _slice_port(errors, port, index("ports", position), names)


def endpoint_slice_update(errors: Errors, new: EndpointSlice, old: EndpointSlice) -> None:
    """The address type stays."""
    errors.immutable("addressType", new.address_type, old.address_type)


def _endpoint(errors: Errors, endpoint: Endpoint, address_type: str, path: str) -> None:
    if not endpoint.addresses:
        errors.required(f"{path}.addresses", "must contain at least 1 address")
    elif len(endpoint.addresses) > MAX_ADDRESSES:
        errors.too_many(f"{path}.addresses", len(endpoint.addresses), MAX_ADDRESSES)
    for position, address in enumerate(endpoint.addresses):
        _address(errors, address, address_type, index(f"{path}.addresses", position))
    if endpoint.node_name is not None:
        problems = validate_names.dns1123_subdomain(endpoint.node_name)
        errors.each(f"{path}.nodeName", endpoint.node_name, problems)
    if endpoint.hostname is not None:
        problems = validate_names.dns1123_label(endpoint.hostname)
        errors.each(f"{path}.hostname", endpoint.hostname, problems)
    if endpoint.zone is not None:
        errors.each(f"{path}.zone", endpoint.zone, validate_names.label_value(endpoint.zone))
    if endpoint.hints is None:
        return
    zones = tuple(hint.name for hint in endpoint.hints.for_zones)
    _hints(errors, zones, f"{path}.hints.forZones")
    nodes = tuple(hint.name for hint in endpoint.hints.for_nodes)
    _hints(errors, nodes, f"{path}.hints.forNodes")


def _hints(errors: Errors, names: tuple[str, ...], path: str) -> None:
    if len(names) > MAX_HINTS:
        errors.too_many(path, len(names), MAX_HINTS)
    seen: set[str] = set()
    for position, name in enumerate(names):
        at = f"{index(path, position)}.name"
        errors.each(at, name, validate_names.label_value(name))
        errors.unique(at, name, seen)


def _address(errors: Errors, address: str, address_type: str, path: str) -> None:
    if address_type == "FQDN":
        errors.each(path, address, validate_names.dns1123_subdomain(address))
        return
    if address_type not in ("IPv4", "IPv6"):
        return
    if not validate_addresses.is_ip(address) or f"IPv{ip_address(address).version}" != address_type:
        errors.invalid(path, address, f"must be a valid {address_type} address")
        return
    errors.each(path, address, validate_addresses.destination(address))


def _slice_port(errors: Errors, port: EndpointPort, path: str, names: set[str]) -> None:
    name = port.name or ""
    if name:
        errors.each(f"{path}.name", name, validate_names.dns1123_label(name))
    errors.unique(f"{path}.name", name, names)
    if port.port is not None:
        errors.each(f"{path}.port", port.port, validate_names.port_number(port.port))
    errors.supported(f"{path}.protocol", port.protocol or "", PROTOCOLS)
    if port.app_protocol is not None:
        problems = validate_names.qualified_name(port.app_protocol)
        errors.each(f"{path}.appProtocol", port.app_protocol, problems)


def endpoints(errors: Errors, obj: Endpoints) -> None:
    """Check an Endpoints object."""
    for position, subset in enumerate(obj.subsets):
        path = index("subsets", position)
        if not subset.addresses and not subset.not_ready_addresses:
            errors.required(path, "must specify `addresses` or `notReadyAddresses`")
        for name, addresses in (
            ("addresses", subset.addresses),
            ("notReadyAddresses", subset.not_ready_addresses),
        ):
            for number, address in enumerate(addresses):
                _endpoint_address(errors, address, index(f"{path}.{name}", number))
        for number, port in enumerate(subset.ports):
            _endpoints_port(errors, port, index(f"{path}.ports", number), len(subset.ports) > 1)


def _endpoint_address(errors: Errors, address: EndpointAddress, path: str) -> None:
    if not validate_addresses.is_ip(address.ip):
        errors.invalid(f"{path}.ip", address.ip, validate_addresses.BAD_ADDRESS)
    if address.hostname:
        problems = validate_names.dns1123_label(address.hostname)
        errors.each(f"{path}.hostname", address.hostname, problems)
    if address.node_name is not None:
        problems = validate_names.dns1123_subdomain(address.node_name)
        errors.each(f"{path}.nodeName", address.node_name, problems)
    if validate_addresses.is_ip(address.ip):
        errors.each(f"{path}.ip", address.ip, validate_addresses.destination(address.ip))
    else:
        # Upstream asks twice, in other words.
        errors.invalid(f"{path}.ip", address.ip, "must be a valid IP address")


def _endpoints_port(errors: Errors, port: EndpointsPort, path: str, named: bool) -> None:
    if port.name:
        errors.each(f"{path}.name", port.name, validate_names.dns1123_label(port.name))
    elif named:
        errors.required(f"{path}.name")
    errors.each(f"{path}.port", port.port, validate_names.port_number(port.port))
    protocol(errors, port.protocol, f"{path}.protocol")
    if port.app_protocol is not None:
        problems = validate_names.qualified_name(port.app_protocol)
        errors.each(f"{path}.appProtocol", port.app_protocol, problems)
