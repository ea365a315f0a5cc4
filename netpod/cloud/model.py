"""What a Service says about its load balancer (pure)."""

from ipaddress import ip_address

from netpod.api.service import Service
from netpod.ip import Address, Family


def wants_load_balancer(service: Service) -> bool:
    """Whether it is ours to give an address; another class of load balancer, or one that is being deleted, is not."""
    return (
        service.spec.type == "LoadBalancer"
        and not service.spec.load_balancer_class
        and not service.metadata.deletion_timestamp
    )


def addresses(service: Service) -> tuple[Address, ...]:
    """Addresses in the Service's status."""
    return tuple(ip for entry in service.status.load_balancer.ingress if (ip := parse(entry.ip)))


def families(service: Service) -> tuple[Family, ...]:
    """Families that the Service's load balancer is to have an address of."""
    return tuple(map(Family, service.spec.ip_families)) or (Family.IPV4,)


def parse(text: str) -> Address | None:
    """The address a text is, or None."""
    try:
        return ip_address(text)
    except ValueError:
        return None
