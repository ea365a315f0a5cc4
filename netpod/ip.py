"""The two address families, and values of either: what `ipaddress` has as two classes each."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import TypeVar

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network
_T = TypeVar("_T", Address, Interface, Network)


class Family(StrEnum):
    """An address family, in the words of `spec.ipFamilies` and `addressType`."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if self is Family.IPV6 else 4

    @property
    def bits(self) -> int:
        """Length of an address."""
        return 128 if self is Family.IPV6 else 32

    @property
    def af(self) -> int:
        """The socket family's number on Linux, AF_INET or AF_INET6."""
        return 10 if self is Family.IPV6 else 2

    @property
    def nft(self) -> str:
        """nftables' word for it: `ip` or `ip6`."""
        return "ip6" if self is Family.IPV6 else "ip"


def family_of(value: Address | Interface | Network) -> Family:
    """Family of an address, interface or network."""
    return Family.IPV6 if value.version == 6 else Family.IPV4


def interface_of(address: Address, length: int) -> Interface:
    """An address in a network of that prefix length."""
    return ip_interface(f"{address}/{length}")


def of_family(values: Iterable[_T], family: Family) -> tuple[_T, ...]:
    """Those of the values that are of one family, in their order."""
    return tuple(value for value in values if value.version == family.version)


def by_family(values: Iterable[_T]) -> Mapping[Family, _T]:
    """The first value of each family."""
    found: dict[Family, _T] = {}
    for value in values:
        found.setdefault(family_of(value), value)
    return found


def address_of(text: str, family: Family) -> Address | None:
    """The address that a text is, None when it is none of that family."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return found if found.version == family.version else None


def network_of(text: str, family: Family) -> Network | None:
    """The network that a text is, host bits ignored; None when it is none of that family."""
    try:
        found = ip_network(text.strip(), strict=False)
    except ValueError:
        return None
    return found if found.version == family.version else None


def host_port(address: object, port: object) -> str:
    """`10.0.0.1:80` or `[fd00::1]:80`, as in URLs and iptables."""
    text = str(address)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
