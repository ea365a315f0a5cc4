"""Rules for GatewayClasses, Gateways and ReferenceGrants.

Source: the schemas and `+kubebuilder:validation:XValidation` rules in sigs.k8s.io/gateway-api apis/v1.
"""

import re
from collections.abc import Iterable

from netpod.api import validate_meta, validate_names
from netpod.api.gateway import (
    Gateway,
    GatewayClass,
    GatewayTLSConfig,
    Listener,
    ReferenceGrant,
)
from netpod.api.validate_addresses import is_ip
from netpod.api.validate_errors import Errors, index

MAX_LISTENERS = 64
MAX_REFS = 64
MAX_ADDRESSES = 16
MAX_DESCRIPTION = 64
FROM = ("All", "Same", "Selector")
_CONTROLLER = re.compile(
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+"
)
_PROTOCOL = re.compile(
    r"[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?|[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    r"(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9]+"
)
_KIND = re.compile(r"[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?")
_WITHOUT_TLS = ("HTTP", "TCP", "UDP")


def gateway_class(errors: Errors, obj: GatewayClass) -> None:
    """Check a GatewayClass."""
    name = obj.spec.controller_name
    if not name:
        errors.required("spec.controllerName")
    elif not _CONTROLLER.fullmatch(name) or len(name) > 253:
        detail = f"spec.controllerName in body should match '^{_CONTROLLER.pattern}$'"
        errors.invalid("spec.controllerName", name, detail)
    if len(obj.spec.description) > MAX_DESCRIPTION:
        errors.too_long("spec.description", MAX_DESCRIPTION)


def gateway_class_update(errors: Errors, new: GatewayClass, old: GatewayClass) -> None:
    """A class stays with its controller."""
    if new.spec.controller_name != old.spec.controller_name:
        errors.invalid("spec.controllerName", new.spec.controller_name, "Value is immutable")


def gateway(errors: Errors, obj: Gateway) -> None:
    """Check a Gateway."""
    spec = obj.spec
    if not spec.gateway_class_name:
        errors.required("spec.gatewayClassName")
    if not spec.listeners:
        errors.required("spec.listeners", "must have at least 1 items")
    if len(spec.listeners) > MAX_LISTENERS:
        errors.too_many("spec.listeners", len(spec.listeners), MAX_LISTENERS)
    for position, listener in enumerate(spec.listeners):
        _listener(errors, listener, index("spec.listeners", position))
    _listeners_together(errors, spec.listeners)
    if len(spec.addresses) > MAX_ADDRESSES:
        errors.too_many("spec.addresses", len(spec.addresses), MAX_ADDRESSES)
    for position, address in enumerate(spec.addresses):
        path = f"{index('spec.addresses', position)}.value"
        if address.type == "IPAddress" and address.value and not is_ip(address.value):
            errors.invalid(path, address.value, "must be a valid IP address")
        elif address.type == "Hostname":
            errors.each(path, address.value, validate_names.dns1123_subdomain(address.value))


def _listeners_together(errors: Errors, listeners: Iterable[Listener]) -> None:
    names: set[str] = set()
    places: set[tuple[int, str, str]] = set()
    said: set[str] = set()
    for listener in listeners:
        place = (listener.port, listener.protocol, listener.hostname)
        if listener.name and listener.name in names:
            said.add("Listener name must be unique within the Gateway")
        if place in places:
            said.add("Combination of port, protocol and hostname must be unique for each listener")
        names.add(listener.name)
        places.add(place)
    errors.each("spec.listeners", "array", sorted(said, reverse=True))


def _listener(errors: Errors, listener: Listener, path: str) -> None:
    if not listener.name:
        errors.required(f"{path}.name")
    else:
        errors.each(f"{path}.name", listener.name, validate_names.dns1123_subdomain(listener.name))
    errors.each(f"{path}.port", listener.port, validate_names.port_number(listener.port))
    if not listener.protocol:
        errors.required(f"{path}.protocol")
    elif not _PROTOCOL.fullmatch(listener.protocol):
        detail = f"{path}.protocol in body should match '^{_PROTOCOL.pattern}$'"
        errors.invalid(f"{path}.protocol", listener.protocol, detail)
    if listener.hostname:
        hostname(errors, f"{path}.hostname", listener.hostname)
        if listener.protocol in ("TCP", "UDP"):
            detail = "hostname must not be specified for protocols ['TCP', 'UDP']"
            errors.invalid("spec.listeners", "array", detail)
    if listener.tls is not None:
        _tls(errors, listener, listener.tls, path)
    allowed = listener.allowed_routes
    if allowed is None:
        return
    if allowed.namespaces is not None:
        where = f"{path}.allowedRoutes.namespaces"
        errors.supported(f"{where}.from", allowed.namespaces.from_ or "Same", FROM)
        if allowed.namespaces.selector is not None:
            validate_meta.label_selector(errors, allowed.namespaces.selector, f"{where}.selector")
    for position, each in enumerate(allowed.kinds):
        kind(errors, f"{index(f'{path}.allowedRoutes.kinds', position)}.kind", each.kind)


def _tls(errors: Errors, listener: Listener, tls: GatewayTLSConfig, path: str) -> None:
    if listener.protocol in _WITHOUT_TLS:
        detail = "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']"
        errors.invalid("spec.listeners", "array", detail)
    errors.supported(f"{path}.tls.mode", tls.mode or "Terminate", ("Passthrough", "Terminate"))
    if listener.protocol == "HTTPS" and tls.mode == "Passthrough":
        detail = "tls mode must be Terminate for protocol HTTPS"
        errors.invalid("spec.listeners", "array", detail)
    if tls.mode != "Passthrough" and not tls.certificate_refs and not tls.options:
        detail = "certificateRefs or options must be specified when mode is Terminate"
        errors.invalid(f"{path}.tls", "object", detail)
    for position, ref in enumerate(tls.certificate_refs):
        at = index(f"{path}.tls.certificateRefs", position)
        if not ref.name:
            errors.required(f"{at}.name")
        kind(errors, f"{at}.kind", ref.kind)


def hostname(errors: Errors, path: str, value: str) -> None:
    """Check a hostname, whose first label may be `*`; addresses are none."""
    if is_ip(value):
        errors.invalid(path, value, "must be a DNS name, not an IP address")
    elif value.startswith("*"):
        errors.each(path, value, validate_names.wildcard_subdomain(value))
    else:
        errors.each(path, value, validate_names.dns1123_subdomain(value))


def kind(errors: Errors, path: str, value: str) -> None:
    """Check the name of a kind."""
    if not value:
        errors.required(path)
    elif not _KIND.fullmatch(value) or len(value) > 63:
        errors.invalid(path, value, f"{path} in body should match '^{_KIND.pattern}$'")


def reference_grant(errors: Errors, obj: ReferenceGrant) -> None:
    """Check a ReferenceGrant."""
    spec = obj.spec
    for name, items in (("from", spec.from_), ("to", spec.to)):
        if not items:
            errors.required(f"spec.{name}", "must have at least 1 items")
        if len(items) > 16:
            errors.too_many(f"spec.{name}", len(items), 16)
    for position, source in enumerate(spec.from_):
        at = index("spec.from", position)
        kind(errors, f"{at}.kind", source.kind)
        if not source.namespace:
            errors.required(f"{at}.namespace")
        else:
            problems = validate_names.dns1123_label(source.namespace)
            errors.each(f"{at}.namespace", source.namespace, problems)
    for position, target in enumerate(spec.to):
        kind(errors, f"{index('spec.to', position)}.kind", target.kind)
