"""A name and a type -> records, from Services and EndpointSlices (pure).

What is easily got wrong (kubenet-facts E.2): a name that exists without records of the type asked for is
NOERROR with nothing in it (NODATA), because some resolvers give a name up after NXDOMAIN for one family.

    exists, no such type        NOERROR, SOA          namespace, svc, pod, the apex
    does not exist              NXDOMAIN, SOA         Service, namespace, port, too many labels
    headless, nothing ready     NXDOMAIN, SOA         a Service with a cluster IP still has its A record
    address without a name      not ours (None)

Source: Kubernetes DNS-based service discovery 1.1.0; CoreDNS plugin/kubernetes.
"""

import ipaddress
from dataclasses import dataclass
from enum import StrEnum

from netpod.api.meta import Key
from netpod.dns import parse
from netpod.dns.parse import (
    Apex,
    Branch,
    NameServer,
    Outside,
    PodName,
    Reverse,
    ServiceName,
    Version,
)
from netpod.dns.view import (
    EndpointEntry,
    Port,
    ServiceEntry,
    Subject,
    View,
    is_headless,
    namespace_subject,
)

TTL = 30
"""Seconds, as in kubeadm's Corefile."""
VERSION = "1.1.0"
VERSION_TTL = 28800
DNS_SERVICE = Key("kube-system", "kube-dns")


class Rcode(StrEnum):
    """Response codes used here."""

    NOERROR = "NOERROR"
    NXDOMAIN = "NXDOMAIN"
    SERVFAIL = "SERVFAIL"
    REFUSED = "REFUSED"
    NOTIMP = "NOTIMP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One resource record: `name` without the last dot, `data` in zone file form."""

    name: str
    type: str
    data: str
    ttl: int = TTL


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to say. `authoritative` is the AA bit."""

    rcode: Rcode = Rcode.NOERROR
    records: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    authoritative: bool = True


class Zone:
    """Answers questions about one zone from a view.

    Args:
        view: The cluster as last seen.
        name: E.g. "cluster.local".
        serial: What the SOA's serial counts from, e.g. the time of the start in seconds.
    """

    def __init__(self, view: View, name: str = "cluster.local", *, serial: int = 1) -> None:
        self.view = view
        self.name = name
        self._serial = serial

    def answer(self, qname: str, qtype: str) -> Answer | None:
        """Answer a question, or return None when the name is not ours to answer.

        Args:
            qname: In lower case, without the last dot.
            qtype: E.g. "A", "ANY" as any other type.
        """
        name = parse.parse(qname, self.name)
        match name:
            case Outside():
                return None
            case Reverse(address=address):
                return self._reverse(qname, qtype, str(address))
            case Apex():
                return self._apex(qname, qtype)
            case Version():
                text = Record(name=qname, type="TXT", data=f'"{VERSION}"', ttl=VERSION_TTL)
                return self._found((text,) if qtype == "TXT" else ())
            case NameServer(above=above):
                dns = self.view.service(*DNS_SERVICE)
                addresses = dns.addresses if dns is not None and not above else ()
                return self._found(_addresses(qname, qtype, addresses))
            case Branch(namespace=namespace):
                known = not namespace or namespace in self.view.namespaces
                return self._found(()) if known else self._missing()
            case PodName(namespace=namespace, address=address):
                if namespace not in self.view.namespaces:
                    return self._missing()
                return self._found(_addresses(qname, qtype, (str(address),)))
            case ServiceName():
                return self._service(qname, qtype, name)
        return self._missing()

    def subject(self, qname: str) -> Subject | None:
        """Say what an answer about a name depends on; None is nothing that changes."""
        match parse.parse(qname, self.name):
            case ServiceName(namespace=namespace, service=service):
                return Key(namespace, service)
            case Branch(namespace=namespace) | PodName(namespace=namespace):
                return namespace_subject(namespace)
            case Reverse(address=address):
                return str(address)
            case Apex() | NameServer():
                return DNS_SERVICE
        return None

    def _service(self, qname: str, qtype: str, name: ServiceName) -> Answer:
        service = self.view.service(name.namespace, name.service)
        if service is None:
            return self._missing()
        if name.endpoint:
            fits = [e for e in self.view.endpoints(service.key) if e.label == name.endpoint]
            if not fits:
                return self._missing()
            if qtype == "SRV":
                return self._endpoint_srv(qname, service, fits, name)
            return self._found(_addresses(qname, qtype, [e.address for e in fits]))
        if service.external_name:
            if name.port:
                return self._missing()
            cname = Record(name=qname, type="CNAME", data=f"{service.external_name}.")
            return self._found((cname,) if qtype in ("A", "AAAA", "CNAME") else ())
        if is_headless(service):
            return self._headless(qname, qtype, service, name)
        ports = _fitting(service.ports, name)
        if name.port and not ports:
            return self._missing()
        if qtype == "SRV":
            target = self._fqdn(service)
            records = [_srv(qname, len(ports), port, target) for port in ports]
            return self._found(tuple(records), _both(target, service.addresses) if records else ())
        return self._found(() if name.port else _addresses(qname, qtype, service.addresses))

    def _headless(self, qname: str, qtype: str, service: ServiceEntry, name: ServiceName) -> Answer:
        endpoints = self.view.endpoints(service.key)
        if name.port:
            endpoints = tuple(e for e in endpoints if _fitting(e.ports, name))
        if not endpoints:
            return self._missing()
        if qtype == "SRV":
            return self._endpoint_srv(qname, service, list(endpoints), name)
        addresses = tuple(dict.fromkeys(e.address for e in endpoints))
        return self._found(() if name.port else _addresses(qname, qtype, addresses))

    def _endpoint_srv(
        self, qname: str, service: ServiceEntry, endpoints: list[EndpointEntry], name: ServiceName
    ) -> Answer:
        """One record for each endpoint and named port, with the port of the endpoint."""
        pairs = [(e, port) for e in endpoints for port in _fitting(e.ports, name)]
        records: list[Record] = []
        additional: list[Record] = []
        for endpoint, port in pairs:
            target = f"{endpoint.label}.{self._fqdn(service)}"
            records.append(_srv(qname, len(pairs), port, target))
            additional.extend(_both(target, (endpoint.address,)))
        return self._found(tuple(dict.fromkeys(records)), tuple(dict.fromkeys(additional)))

    def _apex(self, qname: str, qtype: str) -> Answer:
        server = f"ns.dns.{self.name}"
        if qtype == "SOA":
            return Answer(records=(self._soa(),))
        if qtype == "NS":
            dns = self.view.service(*DNS_SERVICE)
            record = Record(name=qname, type="NS", data=f"{server}.")
            return self._found((record,), _both(server, dns.addresses if dns is not None else ()))
        return self._found(())

    def _reverse(self, qname: str, qtype: str, address: str) -> Answer | None:
        names = self.view.names_of(address)
        if not names:
            return None
        records = [
            Record(name=qname, type="PTR", data=f"{name}.svc.{self.name}.") for name in names
        ]
        return self._found(tuple(records) if qtype == "PTR" else ())

    def _fqdn(self, service: ServiceEntry) -> str:
        return f"{service.key.name}.{service.key.namespace}.svc.{self.name}"

    def _found(self, records: tuple[Record, ...], additional: tuple[Record, ...] = ()) -> Answer:
        authority = () if records else (self._soa(),)
        return Answer(records=records, authority=authority, additional=additional)

    def _missing(self) -> Answer:
        return Answer(rcode=Rcode.NXDOMAIN, authority=(self._soa(),))

    def _soa(self) -> Record:
        """The last number is how long, in seconds, a negative answer is kept (RFC 2308, section 5)."""
        mbox = f"ns.dns.{self.name}. hostmaster.{self.name}."
        data = f"{mbox} {(self._serial + self.view.revision) % 2**32} 7200 1800 86400 {TTL}"
        return Record(name=self.name, type="SOA", data=data)


def _fitting(ports: tuple[Port, ...], name: ServiceName) -> tuple[Port, ...]:
    """Return the ports a name asks for: all when it names none."""
    if not name.port:
        return ports
    return tuple(p for p in ports if (p.name, p.protocol) == (name.port, name.protocol))


def _srv(qname: str, count: int, port: Port, target: str) -> Record:
    """Priority 0; all weights together are 100, each at least 1. Source: CoreDNS plugin/backend_lookup.go."""
    weight = max(1, 100 // count)
    return Record(name=qname, type="SRV", data=f"0 {weight} {port.number} {target}.")


def _family(address: str) -> str:
    return "AAAA" if ipaddress.ip_address(address).version == 6 else "A"


def _addresses(
    qname: str, qtype: str, addresses: tuple[str, ...] | list[str]
) -> tuple[Record, ...]:
    return tuple(
        Record(name=qname, type=qtype, data=address)
        for address in addresses
        if _family(address) == qtype
    )


def _both(name: str, addresses: tuple[str, ...]) -> tuple[Record, ...]:
    return tuple(Record(name=name, type=_family(a), data=a) for a in addresses)
