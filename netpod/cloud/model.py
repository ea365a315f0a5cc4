"""What a Service says about its load balancer (pure)."""

from ipaddress import IPv4Address

from netpod.api.service import Service


def wants_load_balancer(service: Service) -> bool:
    """Whether it is ours to give an address; another class of load balancer, or one that is being deleted, is not."""
    return (
        service.spec.type == "LoadBalancer"
        and not service.spec.load_balancer_class
        and not service.metadata.deletion_timestamp
    )


def addresses(service: Service) -> tuple[IPv4Address, ...]:
    """Addresses in the Service's status."""
    return tuple(ip for entry in service.status.load_balancer.ingress if (ip := ipv4(entry.ip)))


def ipv4(text: str) -> IPv4Address | None:
    """The address a text is, or None."""
    try:
        return IPv4Address(text)
    except ValueError:
        return None
