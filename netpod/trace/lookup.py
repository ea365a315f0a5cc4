"""Ask a cluster's DNS for a name, as a program in a pod would: from its namespace, by its search list."""

import socket
from ipaddress import IPv4Address

from netpod.api.meta import Key
from netpod.errors import NotFound
from netpod.linux import netns
from netpod.trace import dnsquery
from netpod.trace.families import cluster_ips, ipv4_of
from netpod.trace.objects import ClusterObjects

DNS_SERVICE = Key("kube-system", "kube-dns")
NDOTS = 5
"""Names with fewer dots are tried with the search list first. Source: resolv.conf(5); kubelet's ClusterFirst."""
ZONE = "cluster.local"


class NoSuchName(NotFound):
    """A name that the cluster's DNS does not know; `query` is the last one asked."""

    def __init__(self, name: str, query: str, server: IPv4Address) -> None:
        super().__init__(f"cannot find the address of {name}: {server} knows no such name")
        self.query, self.server = query, server


def candidates(name: str, namespace: str) -> list[str]:
    """Return the names that are asked for, in order (pure)."""
    if name.endswith("."):
        return [name.rstrip(".")]
    search = [f"{name}.{namespace}.svc.{ZONE}", f"{name}.svc.{ZONE}", f"{name}.{ZONE}"]
    return [*search, name] if name.count(".") < NDOTS else [name, *search]


def server(objects: ClusterObjects) -> IPv4Address:
    """Return the cluster DNS' cluster IP.

    Raises:
        NotFound: there is no such Service.
    """
    service = objects.service(DNS_SERVICE)
    if service is None or not service.spec.cluster_ip:
        raise NotFound(f"cannot look up names: there is no Service {'/'.join(DNS_SERVICE)}")
    return ipv4_of(cluster_ips(service), "names")


def resolve(
    objects: ClusterObjects, netns_name: str, namespace: str, name: str, *, timeout: float = 1.0
) -> IPv4Address:
    """Return a name's first address.

    Raises:
        NoSuchName: the server has none, or did not answer.
    """
    at = server(objects)
    asked = candidates(name, namespace)
    with netns.socket_in(netns_name, socket.AF_INET, socket.SOCK_DGRAM, 0) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect((str(at), 53))
            for query in asked:
                sock.send(dnsquery.question(query))
                found = dnsquery.addresses(sock.recv(65535))
                if found:
                    return IPv4Address(found[0])
        except OSError:
            # Traced next, by who asked: then it is seen why.
            raise NoSuchName(name, asked[0], at) from None
    raise NoSuchName(name, asked[0], at)
