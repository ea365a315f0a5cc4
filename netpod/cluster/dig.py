"""Asks DNS as a program in a pod would: every query of its search list, shown.

A resolver asks for each name of the search list in turn until one has records: after NXDOMAIN and after an answer
without records it goes on, a truncated answer is asked for again over TCP, a server that does not answer gives the
turn to the next. A name with `ndots` dots or more is asked for as it is first.

Source: resolv.conf(5), options ndots, timeout and attempts; RFC 1035, section 4.2.2.
"""

import ipaddress
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from netpod.client.blocking import BlockingClient
from netpod.cluster.place import Place
from netpod.dns import parse
from netpod.errors import NotFound, UsageError
from netpod.kubelet import resolvconf
from netpod.linux import netns
from netpod.paths import Paths

PORT = 53
TIMEOUT = 2.0
"""Seconds that a server is waited for."""
NDOTS = 1
"""Without the option. Source: resolv.conf(5)."""
_LONGEST = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """Who is asked, and for which names.

    Attributes:
        servers: Addresses, in order.
        search: Suffixes.
        ndots: Names with fewer dots are tried with the suffixes first.
    """

    servers: tuple[str, ...]
    search: tuple[str, ...] = ()
    ndots: int = NDOTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question and what came back.

    Attributes:
        name: Without the last dot.
        type: E.g. A.
        server: Who was asked.
        transport: udp or tcp.
        rcode: E.g. NOERROR, or "" when nobody answered; then `error` says why.
        flags: E.g. QR AA RD.
        ms: How long it took, in milliseconds.
        answer: Records in zone file form; so are `authority` and `additional`.
    """

    name: str
    type: str
    server: str
    transport: str = "udp"
    rcode: str = ""
    error: str = ""
    flags: str = ""
    ms: float = 0.0
    answer: tuple[str, ...] = ()
    authority: tuple[str, ...] = ()
    additional: tuple[str, ...] = ()

    @property
    def final(self) -> bool:
        """Whether a resolver stops here."""
        return self.rcode == "NOERROR" and bool(self.answer)

    @property
    def truncated(self) -> bool:
        """Whether it is asked again over TCP."""
        return "TC" in self.flags.split()


def resolver(paths: Paths, api: BlockingClient, place: Place, namespace: str) -> Resolver:
    """Return the resolver of a place: a pod's own resolv.conf; of a node, that of pods in `namespace`.

    Raises:
        UsageError: the place has no resolver of the cluster's.
        NotFound: the pod has no resolv.conf yet, or there is no cluster DNS.
    """
    if place.pod:
        found = api.request("GET", f"/api/v1/namespaces/{place.namespace}/pods/{place.pod}")
        file = paths.node(place.node) / "etc" / found["metadata"]["uid"] / "resolv.conf"
        try:
            read = resolvconf.parse(file.read_text())
        except FileNotFoundError:
            raise NotFound(f"cannot look up names in pod {place.pod}: it has no {file}") from None
        ndots = [o.partition(":")[2] for o in read.options if o.startswith("ndots:")]
        return Resolver(
            servers=read.nameservers,
            search=read.searches,
            ndots=int(ndots[-1]) if ndots and ndots[-1].isdigit() else NDOTS,
        )
    if not place.node:
        raise UsageError(
            "cannot look up names here: outside the cluster's nodes there is no cluster DNS; "
            "say --from node/NAME, --from pod/NAME, or --server ADDRESS"
        )
    service = api.request("GET", "/api/v1/namespaces/kube-system/services/kube-dns")
    zone = "cluster.local"
    search = (f"{namespace}.svc.{zone}", f"svc.{zone}", zone)
    return Resolver(servers=(service["spec"]["clusterIP"],), search=search, ndots=5)


def names(name: str, resolver: Resolver) -> tuple[str, ...]:
    """Return the names that are asked for, in order, without last dots (pure)."""
    if name.endswith("."):
        return (name.rstrip("."),)
    searched = [f"{name}.{suffix.rstrip('.')}" for suffix in resolver.search if suffix != "."]
    order = [*searched, name] if name.count(".") < resolver.ndots else [name, *searched]
    return tuple(each for each in dict.fromkeys(order) if len(each) <= _LONGEST)


def question(word: str, kind: str) -> tuple[str, str]:
    """Read what a person asks for: a name and a type; an address asks for its name.

    Raises:
        UsageError: no name, or no type of records, looks like that.
    """
    try:
        address = ipaddress.ip_address(word)
    except ValueError:
        pass
    else:
        return f"{parse.reverse_name(address)}.", kind or "PTR"
    wanted = (kind or "A").upper()
    try:
        dns.rdatatype.from_text(wanted)
        dns.message.make_query(word, wanted)
    except (dns.exception.DNSException, ValueError) as error:
        raise UsageError(f"cannot ask for {word} {wanted}: {error}") from error
    return word, wanted


def ask(netns_name: str, resolver: Resolver, word: str, kind: str) -> Iterator[Query]:
    """Ask until there is an answer, as the resolver of the place would; yield every query."""
    for name in names(word, resolver):
        last: Query | None = None
        for server in resolver.servers:
            last = _ask(netns_name, server, name, kind, tcp=False)
            yield last
            if last.truncated:
                last = _ask(netns_name, server, name, kind, tcp=True)
                yield last
            if last.rcode in ("NOERROR", "NXDOMAIN"):
                break
        if last is None or last.final or last.rcode not in ("NOERROR", "NXDOMAIN"):
            return


def _ask(netns_name: str, server: str, name: str, kind: str, *, tcp: bool) -> Query:
    query = dns.message.make_query(name, kind, use_edns=0, payload=1232)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    transport = "tcp" if tcp else "udp"
    began = time.perf_counter()
    try:
        kind_of = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
        with netns.socket_in(netns_name, family, kind_of) as sock:
            sock.settimeout(TIMEOUT)
            sock.connect((server, PORT))
            response = dns.message.from_wire(_exchange(sock, query.to_wire(), tcp=tcp))
    except (OSError, dns.exception.DNSException) as error:
        said = "no answer" if isinstance(error, TimeoutError) else str(error)
        taken = (time.perf_counter() - began) * 1000
        return Query(name=name, type=kind, server=server, transport=transport, error=said, ms=taken)
    taken = (time.perf_counter() - began) * 1000
    return Query(
        name=name,
        type=kind,
        server=server,
        transport=transport,
        rcode=dns.rcode.to_text(response.rcode()),
        flags=dns.flags.to_text(response.flags),
        ms=taken,
        answer=_records(response.answer),
        authority=_records(response.authority),
        additional=_records(response.additional),
    )


def _exchange(sock: socket.socket, query: bytes, *, tcp: bool) -> bytes:
    if not tcp:
        sock.send(query)
        return sock.recv(65535)
    sock.sendall(len(query).to_bytes(2, "big") + query)
    return _read(sock, int.from_bytes(_read(sock, 2), "big"))


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise ConnectionError("the server broke off")
        data += part
    return data


def _records(section: Sequence[object]) -> tuple[str, ...]:
    return tuple(line for rrset in section for line in str(rrset).splitlines())
