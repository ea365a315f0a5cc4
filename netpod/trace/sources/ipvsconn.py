"""What IPVS has in a network namespace: virtual servers, and which client got which real server.

Source: Linux net/netfilter/ipvs/ip_vs_conn.c ip_vs_conn_seq_show (/proc/net/ip_vs_conn).
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, ip_address

from netpod.errors import KernelError
from netpod.ip import Address as IPAddress
from netpod.linux import ipvs, netns
from netpod.linux.ipvs import Destination
from netpod.trace.model import Address
from netpod.trace.virtual import Ipvs, IpvsConnection, VirtualServer


def observe(namespaces: Iterable[str]) -> dict[str, Ipvs]:
    """Read IPVS of the namespaces that have any virtual server."""
    found: dict[str, Ipvs] = {}
    for name in namespaces:
        try:
            if not ipvs.present(name):
                continue
            with ipvs.Ipvs(name) as kernel:
                servers = tuple(
                    _server(it, kernel.destinations(it.place)) for it in kernel.services()
                )
            if servers:
                found[name] = Ipvs(servers=servers, connections=tuple(connections(name)))
        except KernelError:
            continue
    return found


def _server(found: ipvs.Service, real: Iterable[Destination]) -> VirtualServer:
    address, port, protocol = found.place
    return VirtualServer(
        address=Address(address, port),
        protocol=protocol,
        scheduler=found.scheduler,
        real=tuple((Address(it.address, it.port), it.weight) for it in real),
    )


def connections(netns_name: str) -> list[IpvsConnection]:
    """Connections of a namespace; none where there is no IPVS."""

    def read() -> str:
        with open("/proc/thread-self/net/ip_vs_conn") as file:
            return file.read()

    try:
        return list(parse(netns.call_in(netns_name, read)))
    except OSError:
        return []


def parse(text: str) -> Iterator[IpvsConnection]:
    """Yield what the file says, line by line; entries of persistence alone, which have no client port, not (pure)."""
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) < 8 or words[2] == "0000":
            continue
        client, virtual, real = (
            Address(_address(words[i]), int(words[i + 1], 16)) for i in (1, 3, 5)
        )
        yield IpvsConnection(
            protocol=words[0].lower(), client=client, virtual=virtual, real=real, state=words[7]
        )


def _address(text: str) -> IPAddress:
    """IPv4 is eight hexadecimal digits, IPv6 written out."""
    return ip_address(text) if ":" in text else IPv4Address(int(text, 16))
