"""Rules for Ingresses and IngressClasses.

Source: pkg/apis/networking/validation/validation.go.
"""

import re
from typing import Any

from netpod.api import shapes, validate_addresses, validate_names, validate_service
from netpod.api.networking import (
    HTTPIngressPath,
    Ingress,
    IngressBackend,
    IngressClass,
    IngressTLS,
)
from netpod.api.validate_errors import UNREADABLE, Errors, index

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
MAX_CONTROLLER = 250

_BAD_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_BAD_SUFFIXES = ("/..", "/.")
_HTTP_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"


def ingress(errors: Errors, obj: Ingress) -> None:
    """Check an Ingress."""
    spec = obj.spec
    if not spec.rules and spec.default_backend is None:
        errors.invalid("spec", spec, "either `defaultBackend` or `rules` must be specified")
    if spec.default_backend is not None:
        _backend(errors, spec.default_backend, "spec.defaultBackend")
    for position, rule in enumerate(spec.rules):
        path = index("spec.rules", position)
        if rule.host:
            _host(errors, rule.host, f"{path}.host")
        if rule.http is None:
            continue
        if not rule.http.paths:
            errors.required(f"{path}.http.paths")
        for number, http_path in enumerate(rule.http.paths):
            _path(errors, http_path, index(f"{path}.http.paths", number))
    for position, tls in enumerate(spec.tls):
        _tls(errors, tls, index("spec.tls", position))
    if spec.ingress_class_name is not None:
        problems = validate_names.dns1123_subdomain(spec.ingress_class_name)
        errors.each("spec.ingressClassName", spec.ingress_class_name, problems)


def ingress_create(errors: Errors, obj: Ingress) -> None:
    """The class is named once: by the field or, as before, by the annotation."""
    if CLASS_ANNOTATION in obj.metadata.annotations and obj.spec.ingress_class_name is not None:
        value = obj.metadata.annotations[CLASS_ANNOTATION]
        detail = "can not be set when the class field is also set"
        errors.invalid(f"metadata.annotations.{CLASS_ANNOTATION}", value, detail)


def _host(errors: Errors, host: str, path: str) -> None:
    if validate_addresses.is_ip(host):
        errors.invalid(path, host, "must be a DNS name, not an IP address")
    if "*" in host:
        errors.each(path, host, validate_names.wildcard_subdomain(host))
    else:
        errors.each(path, host, validate_names.dns1123_subdomain(host))


def _path(errors: Errors, http_path: HTTPIngressPath, path: str) -> None:
    written = http_path.path
    if http_path.path_type is None:
        errors.required(f"{path}.pathType", "pathType must be specified")
        return
    match http_path.path_type:
        case "Exact" | "Prefix":
            if not written.startswith("/"):
                errors.invalid(f"{path}.path", written, "must be an absolute path")
            for sequence in _BAD_SEQUENCES:
                if sequence in written:
                    errors.invalid(f"{path}.path", written, f"must not contain '{sequence}'")
            for suffix in _BAD_SUFFIXES:
                if written.endswith(suffix):
                    errors.invalid(f"{path}.path", written, f"cannot end with '{suffix}'")
        case "ImplementationSpecific":
            if written and not written.startswith("/"):
                errors.invalid(f"{path}.path", written, "must be an absolute path")
        case None:
            pass
        case other:
            errors.supported(f"{path}.pathType", other, PATH_TYPES)
    _backend(errors, http_path.backend, f"{path}.backend")


def _backend(errors: Errors, backend: IngressBackend, path: str) -> None:
    service, resource = backend.service, backend.resource
    if resource is not None:
        if service is not None:
            errors.invalid(path, "", "cannot set both resource and service backends")
        else:
            _reference(errors, resource, f"{path}.resource")
        return
    if service is None:
        errors.invalid(path, "", "resource or service backend is required")
        return
    at = f"{path}.service"
    if service.name:
        errors.each(f"{at}.name", service.name, validate_names.dns1035_label(service.name))
    else:
        errors.required(f"{at}.name")
    port = service.port
    if port.name and port.number:
        errors.invalid(path, "", "cannot set both port name & port number")
    elif port.name:
        errors.each(f"{at}.port.name", port.name, validate_names.port_name(port.name))
    elif port.number:
        errors.each(f"{at}.port.number", port.number, validate_names.port_number(port.number))
    else:
        errors.required(path, "port name or number is required")


def _reference(errors: Errors, reference: Any, path: str) -> None:
    """Check a reference to an object of the namespace. Source: validateIngressTypedLocalObjectReference."""
    if not shapes.is_shaped(errors, reference, shapes.REFERENCE, path):
        return
    group = reference.get("apiGroup")
    if group is not None:
        errors.each(f"{path}.apiGroup", group, validate_names.dns1123_subdomain(group))
    for field in ("kind", "name"):
        value = reference.get(field)
        if not value:
            errors.required(f"{path}.{field}", f"{field} is required")
        else:
            errors.each(f"{path}.{field}", value, validate_names.path_segment(value))


def _tls(errors: Errors, tls: IngressTLS, path: str) -> None:
    for position, host in enumerate(tls.hosts):
        at = index(f"{path}.hosts", position)
        if "*" in host:
            errors.each(at, host, validate_names.wildcard_subdomain(host))
        else:
            errors.each(at, host, validate_names.dns1123_subdomain(host))
    if tls.secret_name:
        problems = validate_names.dns1123_subdomain(tls.secret_name)
        errors.each(f"{path}.secretName", tls.secret_name, problems)


def _domain_path(errors: Errors, value: str, path: str) -> None:
    """Check `domain/path`. Source: k8s.io/apimachinery pkg/util/validation IsDomainPrefixedPath."""
    domain, _, below = value.partition("/")
    if not domain or not below:
        errors.invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')
        return
    errors.each(path, domain, validate_names.dns1123_subdomain(domain))
    if not re.fullmatch(_HTTP_PATH, below, re.ASCII):
        errors.invalid(path, below, validate_names.mismatch("Invalid path", _HTTP_PATH))


def ingress_class(errors: Errors, obj: IngressClass) -> None:
    """Check an IngressClass."""
    controller = obj.spec.controller
    if not controller:
        errors.required("spec.controller")
    else:
        if len(controller) > MAX_CONTROLLER:
            errors.too_long("spec.controller", MAX_CONTROLLER)
        _domain_path(errors, controller, "spec.controller")
    parameters = obj.spec.parameters
    if parameters is None:
        return
    path = "spec.parameters"
    before = len(errors.found)
    _reference(errors, parameters, path)
    if any(found.reason == UNREADABLE for found in errors.found[before:]):
        return
    scope, namespace = parameters.get("scope") or "", parameters.get("namespace")
    errors.supported(f"{path}.scope", str(scope), ("Cluster", "Namespace"))
    if scope == "Namespace" and not namespace:
        errors.required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'")
    if scope == "Cluster" and namespace is not None:
        errors.forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'")


def ingress_class_update(errors: Errors, new: IngressClass, old: IngressClass) -> None:
    """A class stays with its controller."""
    errors.immutable("spec.controller", new.spec.controller, old.spec.controller)


def ingress_status(errors: Errors, new: Ingress, _: Ingress) -> None:
    """Check where its load balancer is said to be."""
    path = "status.loadBalancer.ingress"
    validate_service.load_balancer(errors, new.status.load_balancer.ingress, path)
