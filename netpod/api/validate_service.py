"""Rules for Services.

Source: pkg/apis/core/validation/validation.go ValidateService, ValidateServiceUpdate.
"""

from collections.abc import Iterable

from netpod.api import defaults_service, validate_addresses, validate_meta, validate_names
from netpod.api.meta import IntOrString
from netpod.api.service import LoadBalancerIngress, Service, ServicePort, ServiceSpec
from netpod.api.validate_errors import IMMUTABLE, Errors, index

MAX_AFFINITY_SECONDS = 86_400
PROTOCOLS = ("TCP", "UDP", "SCTP")
TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
RANGES_ANNOTATION = "service.beta.kubernetes.io/load-balancer-source-ranges"
FAMILY_POLICIES = ("SingleStack", "PreferDualStack", "RequireDualStack")
TRAFFIC_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")

_KUBELET_PORT = 10250


def service(errors: Errors, obj: Service) -> None:
    """Check a Service, with or without the values the server allocates."""
    spec = obj.spec
    headless = spec.cluster_ip == defaults_service.HEADLESS
    if not spec.ports and not headless and spec.type != "ExternalName":
        errors.required("spec.ports")
    _type(errors, spec)
    names: set[str] = set()
    for position, port in enumerate(spec.ports):
        _port(errors, port, index("spec.ports", position), len(spec.ports) > 1, names)
    validate_meta.labels(errors, spec.selector, "spec.selector")
    _affinity(errors, spec)
    _addresses(errors, spec)
    _families(errors, spec)
    _numbers(errors, spec)
    _source_ranges(errors, obj)
    _policies(errors, spec)


def _type(errors: Errors, spec: ServiceSpec) -> None:
    errors.supported("spec.type", spec.type, TYPES)
    match spec.type:
        case "LoadBalancer" | "NodePort":
            if spec.cluster_ips == ("None",):
                detail = f"may not be set to 'None' for {spec.type} services"
                errors.invalid("spec.clusterIPs[0]", "None", detail)
        case "ExternalName":
            if spec.cluster_ips or spec.cluster_ip:
                detail = "may not be set for ExternalName services"
                errors.forbidden("spec.clusterIPs", detail)
            # A name may end in a dot: then it is complete.
            name = spec.external_name.removesuffix(".")
            if name:
                problems = validate_names.dns1123_subdomain(name)
                errors.each("spec.externalName", spec.external_name, problems)
            else:
                errors.required("spec.externalName")
    if spec.type == "LoadBalancer":
        for position, port in enumerate(spec.ports):
            if port.port == _KUBELET_PORT:
                detail = f"may not expose port {port.port} externally since it is used by kubelet"
                errors.invalid(index("spec.ports", position), port.port, detail)


def _port(errors: Errors, port: ServicePort, path: str, named: bool, names: set[str]) -> None:
    if port.name:
        errors.each(f"{path}.name", port.name, validate_names.dns1123_label(port.name))
        errors.unique(f"{path}.name", port.name, names)
    elif named:
        errors.required(f"{path}.name")
    errors.each(f"{path}.port", port.port, validate_names.port_number(port.port))
    protocol(errors, port.protocol, f"{path}.protocol")
    if port.target_port is not None:
        number_or_name(errors, port.target_port, f"{path}.targetPort")
    if port.app_protocol is not None:
        problems = validate_names.qualified_name(port.app_protocol)
        errors.each(f"{path}.appProtocol", port.app_protocol, problems)


def protocol(errors: Errors, value: str, path: str) -> None:
    """Check a port's protocol."""
    if value:
        errors.supported(path, value, PROTOCOLS)
    else:
        errors.required(path)


def number_or_name(errors: Errors, value: IntOrString, path: str) -> None:
    """Check a port that is a number or a container port's name."""
    if isinstance(value, str):
        errors.each(path, value, validate_names.port_name(value))
    else:
        errors.each(path, value, validate_names.port_number(value))


def _affinity(errors: Errors, spec: ServiceSpec) -> None:
    path = "spec.sessionAffinityConfig"
    errors.supported("spec.sessionAffinity", spec.session_affinity, ("ClientIP", "None"))
    config = spec.session_affinity_config
    if spec.session_affinity == "None" and config is not None:
        errors.forbidden(path, "must not be set when session affinity is None")
    if spec.session_affinity != "ClientIP":
        return
    seconds = config.client_ip.timeout_seconds if config and config.client_ip else None
    if seconds is None:
        errors.required(f"{path}.clientIP.timeoutSeconds", "when session affinity type is ClientIP")
    elif not 0 < seconds <= MAX_AFFINITY_SECONDS:
        detail = f"must be greater than 0 and less than {MAX_AFFINITY_SECONDS}"
        errors.invalid(f"{path}.clientIP.timeoutSeconds", seconds, detail)


def _addresses(errors: Errors, spec: ServiceSpec) -> None:
    for position, address in enumerate(spec.external_ips):
        path = index("spec.externalIPs", position)
        errors.each(path, address, validate_addresses.destination(address))


def _families(errors: Errors, spec: ServiceSpec) -> None:
    """Check what belongs together: clusterIP and clusterIPs, ipFamilies and ipFamilyPolicy.

    Source: ValidateServiceClusterIPsRelatedFields.
    """
    if spec.type == "ExternalName":
        for name, value in (
            ("ipFamilies", spec.ip_families),
            ("ipFamilyPolicy", spec.ip_family_policy),
        ):
            if value:
                errors.forbidden(f"spec.{name}", "may not be set for ExternalName services")
        return
    path, addresses = "spec.clusterIPs", spec.cluster_ips
    if spec.cluster_ip:
        if not addresses:
            errors.required(path)
        elif addresses[0] != spec.cluster_ip:
            errors.invalid(path, list(addresses), "first value must match `clusterIP`")
    elif addresses:
        errors.invalid(path, list(addresses), "must be empty when `clusterIP` is not specified")
    seen: set[str] = set()
    for position, family in enumerate(spec.ip_families):
        at = index("spec.ipFamilies", position)
        errors.supported(at, family, ("IPv4", "IPv6"))
        errors.unique(at, family, seen)
    if spec.ip_family_policy is not None:
        errors.supported("spec.ipFamilyPolicy", spec.ip_family_policy, FAMILY_POLICIES)
    if not _are_addresses(errors, addresses, path):
        return
    if len(addresses) > 1 and len({":" in address for address in addresses}) == 1:
        detail = "may specify no more than one IP for each IP family"
        errors.invalid(path, list(addresses), detail)
    if spec.cluster_ip == defaults_service.HEADLESS:
        return
    for position, (address, family) in enumerate(zip(addresses, spec.ip_families, strict=False)):
        if (":" in address) != (family == "IPv6"):
            detail = f"expected an {family} value as indicated by `ipFamilies[{position}]`"
            errors.invalid(index(path, position), address, detail)


def _are_addresses(errors: Errors, addresses: tuple[str, ...], path: str) -> bool:
    wrong = False
    for position, address in enumerate(addresses):
        if address == defaults_service.HEADLESS and not position:
            if len(addresses) > 1:
                wrong = True
                detail = "'None' must be the first and only value"
                errors.invalid(path, list(addresses), detail)
        elif not validate_addresses.is_ip(address):
            wrong = True
            errors.invalid(index(path, position), address, validate_addresses.BAD_ADDRESS)
    if len(addresses) > 2:
        errors.invalid(path, list(addresses), "may only hold up to 2 values")
    return not wrong


def _numbers(errors: Errors, spec: ServiceSpec) -> None:
    """Check that no two ports are alike, and who may have a node port."""
    node_ports: set[tuple[str, int]] = set()
    ports: set[tuple[str, int]] = set()
    for position, port in enumerate(spec.ports):
        path = index("spec.ports", position)
        if port.node_port and spec.type == "ClusterIP":
            errors.forbidden(f"{path}.nodePort", "may not be used when `type` is 'ClusterIP'")
        if port.node_port:
            if (port.protocol, port.node_port) in node_ports:
                errors.duplicate(f"{path}.nodePort", port.node_port)
            node_ports.add((port.protocol, port.node_port))
        if (port.protocol, port.port) in ports:
            errors.duplicate(path, {"protocol": port.protocol, "port": port.port})
        ports.add((port.protocol, port.port))


def _source_ranges(errors: Errors, obj: Service) -> None:
    spec = obj.spec
    written = obj.metadata.annotations.get(RANGES_ANNOTATION)
    if spec.load_balancer_source_ranges:
        path, ranges = "spec.loadBalancerSourceRanges", spec.load_balancer_source_ranges
        if spec.type != "LoadBalancer":
            errors.forbidden(path, "may only be used when `type` is 'LoadBalancer'")
        for position, text in enumerate(ranges):
            if not validate_addresses.is_cidr(text.strip()):
                errors.invalid(index(path, position), text, validate_addresses.BAD_CIDR)
    elif written is not None:
        path = f"metadata.annotations[{RANGES_ANNOTATION}]"
        if spec.type != "LoadBalancer":
            errors.forbidden(path, "may only be used when `type` is 'LoadBalancer'")
        ranges = tuple(text.strip() for text in written.split(",")) if written.strip() else ()
        if not all(validate_addresses.is_cidr(text) for text in ranges):
            detail = "must be a list of IP ranges. For example, 10.240.0.0/24,10.250.0.0/24 "
            errors.invalid(path, written, detail)


def _policies(errors: Errors, spec: ServiceSpec) -> None:
    policy, path = spec.external_traffic_policy, "spec.externalTrafficPolicy"
    if policy:
        errors.supported(path, policy, ("Cluster", "Local"))
        if not defaults_service.externally_accessible(spec):
            detail = "may only be set for externally-accessible services"
            errors.invalid(path, policy, detail)
    elif defaults_service.externally_accessible(spec):
        errors.required(path)
    if spec.health_check_node_port < 0 or spec.health_check_node_port > 65535:
        problems = validate_names.port_number(spec.health_check_node_port)
        errors.each("spec.healthCheckNodePort", spec.health_check_node_port, problems)
    elif spec.health_check_node_port and (spec.type != "LoadBalancer" or policy != "Local"):
        detail = (
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        )
        errors.invalid("spec.healthCheckNodePort", spec.health_check_node_port, detail)
    if spec.internal_traffic_policy is not None:
        values = ("Cluster", "Local")
        errors.supported("spec.internalTrafficPolicy", spec.internal_traffic_policy, values)
    elif spec.type != "ExternalName":
        errors.required("spec.internalTrafficPolicy")
    if spec.allocate_load_balancer_node_ports is not None and spec.type != "LoadBalancer":
        detail = "may only be used when `type` is 'LoadBalancer'"
        errors.forbidden("spec.allocateLoadBalancerNodePorts", detail)
    if spec.load_balancer_class is not None:
        path = "spec.loadBalancerClass"
        if spec.type != "LoadBalancer":
            errors.forbidden(path, "may only be used when `type` is 'LoadBalancer'")
        problems = validate_names.qualified_name(spec.load_balancer_class)
        errors.each(path, spec.load_balancer_class, problems)
    if spec.traffic_distribution is not None:
        path = "spec.trafficDistribution"
        errors.supported(path, spec.traffic_distribution, TRAFFIC_DISTRIBUTIONS)


def service_update(errors: Errors, new: Service, old: Service) -> None:
    """Check what may not change. An address left out is kept, not removed."""
    was, spec = old.spec, new.spec
    external = "ExternalName" in (was.type, spec.type)
    if defaults_service.has_health_check(was) and defaults_service.has_health_check(spec):
        if was.health_check_node_port != spec.health_check_node_port:
            errors.forbidden("spec.healthCheckNodePort", IMMUTABLE)
    if (
        was.type == spec.type == "LoadBalancer"
        and was.load_balancer_class != spec.load_balancer_class
    ):
        path, value = "spec.loadBalancerClass", spec.load_balancer_class
        errors.invalid(
            path, value, f"{IMMUTABLE}" if was.load_balancer_class else "may not change once set"
        )
    if external:
        return
    if was.cluster_ips and spec.cluster_ips[:1] != was.cluster_ips[:1]:
        errors.invalid("spec.clusterIPs[0]", list(spec.cluster_ips), "may not change once set")
    # The first may never change; the second comes and goes, but is not exchanged for another.
    if len(was.cluster_ips) == len(spec.cluster_ips) == 2:
        if was.cluster_ips[1] != spec.cluster_ips[1]:
            detail = "may not change once set"
            errors.invalid("spec.clusterIPs[1]", list(spec.cluster_ips), detail)
    for position, family in enumerate(spec.ip_families[: len(was.ip_families)]):
        if family != was.ip_families[position]:
            where = index("spec.ipFamilies", position)
            errors.invalid(where, list(spec.ip_families), "may not change once set")


def service_status(errors: Errors, new: Service, _: Service) -> None:
    """Check where its load balancer is said to be."""
    load_balancer(errors, new.status.load_balancer.ingress, "status.loadBalancer.ingress")


def load_balancer(errors: Errors, ingress: Iterable[LoadBalancerIngress], path: str) -> None:
    """Check the addresses and names of a load balancer. Source: ValidateLoadBalancerStatus."""
    for position, one in enumerate(ingress):
        at = index(path, position)
        if one.ip and not validate_addresses.is_ip(one.ip):
            errors.invalid(f"{at}.ip", one.ip, "must be a valid IP address")
        if one.hostname:
            problems = validate_names.dns1123_subdomain(one.hostname)
            if validate_addresses.is_ip(one.hostname):
                problems = [*problems, "must be a DNS name, not an IP address"]
            errors.each(f"{at}.hostname", one.hostname, problems)
