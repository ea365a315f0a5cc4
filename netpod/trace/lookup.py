"""Ask a cluster's DNS for a name, as a program in a pod would: from its namespace, by its search list."""

import socket
from ipaddress import ip_address

from netpod.api.meta import Key
from netpod.errors import NotFound
from netpod.ip import Address, Family, family_of
from netpod.linux import netns
from netpod.trace.families import RECORDS, choose, cluster_ips
from netpod.trace.objects import ClusterObjects

DNS_SERVICE = Key("kube-system", "kube-dns")
NDOTS = 5
"""Names with fewer dots are tried with the search list first. Source: resolv.conf(5); kubelet's ClusterFirst."""
ZONE = "cluster.local"


class NoSuchName(NotFound):
    """A name that the cluster's DNS does not know; `query` is the last one asked."""

    def __init__(self, name: str, query: str, server: Address) -> None:
        super().__init__(f"cannot find the address of {name}: {server} knows no such name")
        self.query, self.server = query, server


def candidates(name: str, namespace: str) -> list[str]:
    """Return the names that are asked for, in order (pure)."""
    if name.endswith("."):
        return [name.rstrip(".")]
    search = [f"{name}.{namespace}.svc.{ZONE}", f"{name}.svc.{ZONE}", f"{name}.{ZONE}"]
    return [*search, name] if name.count(".") < NDOTS else [name, *search]


def server(objects: ClusterObjects) -> Address:
    """Return the cluster DNS' cluster IP that stands in pods' resolv.conf: its first.

    Raises:
        NotFound: there is no such Service.
    """
    service = objects.service(DNS_SERVICE)
    if service is None or not service.spec.cluster_ip:
        raise NotFound(f"cannot look up names: there is no Service {'/'.join(DNS_SERVICE)}")
    return choose(cluster_ips(service), "names")


def resolve(
    objects: ClusterObjects,
    netns_name: str,
    namespace: str,
    name: str,
    *,
    family: Family | None = None,
    timeout: float = 1.0,
) -> tuple[Address, ...]:
    """Return a name's addresses in the order in which a client tries them: IPv6 first where the client has a way there.

    That is getaddrinfo's order: both addresses and their sources are of matching scope and label here, so what decides
    is the precedence of the two families. Source: RFC 6724 sections 2.1 and 6.

    Args:
        objects: The cluster's objects.
        netns_name: The client's namespace.
        namespace: Its Kubernetes namespace, for the search list.
        name: What to look up.
        family: None is both.
        timeout: Seconds to wait for an answer.

    Raises:
        NoSuchName: the server has none, or did not answer.
    """
    at = server(objects)
    asked = candidates(name, namespace)
    # A library that takes a tenth of a second to import, for those who name a Service by its name.
    from netpod.trace import dnsquery

    kinds = [kind for of, kind in RECORDS.items() if family in (None, of)]
    with netns.socket_in(netns_name, family_of(at).af, socket.SOCK_DGRAM, 0) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect((str(at), 53))
            for query in asked:
                found: list[Address] = []
                for kind in kinds:
                    answer = _answer(sock, dnsquery.question(query, kind))
                    found += map(ip_address, dnsquery.addresses(answer))
                if found:
                    found.sort(key=lambda it: (not reached(netns_name, it), -it.version))
                    return tuple(found)
        except OSError:
            # Traced next, by who asked: then it is seen why.
            raise NoSuchName(name, asked[0], at) from None
    raise NoSuchName(name, asked[0], at)


def _answer(sock: socket.socket, question: bytes) -> bytes:
    """Ask, once more after a silence as resolvers do, and wait for the answer to this very question.

    Raises:
        OSError: there was none.
    """
    for last in (False, True):
        sock.send(question)
        try:
            while (answer := sock.recv(65535))[:2] != question[:2]:
                continue
        except TimeoutError:
            if last:
                raise
        else:
            return answer
    raise AssertionError("the second try returns or raises")


def reached(netns_name: str, ip: Address) -> bool:
    """Whether a namespace has a route and a source address for a destination; sends nothing."""
    with netns.socket_in(netns_name, family_of(ip).af, socket.SOCK_DGRAM, 0) as sock:
        return sock.connect_ex((str(ip), 9)) == 0
