"""The client: one real request from a namespace, its source port known before the first packet leaves."""

import errno
import http.client
import secrets
import socket
import ssl
import struct
from ipaddress import ip_address
from urllib.parse import urlsplit

from netpod.errors import KernelError
from netpod.ip import Family
from netpod.linux import netns
from netpod.trace.model import Address, Answer
from netpod.trace.request import HEADER, Kind, TraceRequest

MAX_BODY = 1 << 20
_MTU_DISCOVER = {Family.IPV4: (socket.IPPROTO_IP, 10), Family.IPV6: (socket.IPPROTO_IPV6, 23)}
_DONT, _PROBE = 0, 3
"""IP_PMTUDISC_DONT: fragments are allowed; _PROBE: send what fits the first link, never in fragments. Source: ip(7)."""
_MTU = {Family.IPV4: (socket.IPPROTO_IP, 14), Family.IPV6: (socket.IPPROTO_IPV6, 24)}
"""IP_MTU and IPV6_MTU: of the path to where a socket is connected."""
_HOPS = {
    Family.IPV4: (socket.IPPROTO_IP, socket.IP_TTL),
    Family.IPV6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
}
_ECHO = {Family.IPV4: (8, 0), Family.IPV6: (128, 129)}
"""ICMP types of an echo request and its reply."""
_ICMP = {Family.IPV4: socket.IPPROTO_ICMP, Family.IPV6: socket.IPPROTO_ICMPV6}
_SHORT = 32
_UNREACHABLE = "refused (ICMP port unreachable)"


class Probe:
    """A socket in the client's namespace, bound but not yet connected; `source` is its address.

    An ICMP echo has no port: its id, chosen here, is in the port's place.

    Args:
        request: What to send.
        port: Port, or id, to send from; 0 is any that is free.
    """

    def __init__(self, request: TraceRequest, port: int = 0) -> None:
        self._request = request
        # Made before the clock runs: loading what makes them takes longer than the whole way of a request.
        self._question = _question(request) if request.kind is Kind.DNS else b""
        self._tls = _tls() if request.kind is Kind.HTTPS else None
        family = request.family
        kinds = {6: socket.SOCK_STREAM, 17: socket.SOCK_DGRAM}
        self._socket: socket.socket = netns.socket_in(
            request.netns,
            family.af,
            kinds.get(request.protocol, socket.SOCK_RAW) | socket.SOCK_CLOEXEC,
            _ICMP[family] if request.kind is Kind.ICMP else 0,
        )
        self._socket.settimeout(request.timeout)
        try:
            self._prepare()
            # The address a packet to the destination would get; connecting a UDP socket sends nothing.
            with netns.socket_in(request.netns, family.af, socket.SOCK_DGRAM, 0) as route:
                route.connect((str(request.connect.ip), request.connect.port or 9))
                ip = route.getsockname()[0]
            self._socket.bind((ip, port))
        except OSError as error:
            self._socket.close()
            raise KernelError(
                f"cannot reach {request.connect}", errno=error.errno or 0, netns=request.netns
            ) from error
        ip, own = self._socket.getsockname()[:2]
        if request.kind is Kind.ICMP:
            own = port or 1 + secrets.randbelow(65535)
        self.source = Address(ip_address(ip), own)

    @property
    def destination(self) -> Address:
        """Where it sends to; for an ICMP echo with the id in the port's place, as in conntrack."""
        if self._request.kind is Kind.ICMP:
            return Address(self._request.connect.ip, self.source.port)
        return self._request.connect

    def send(self) -> Answer:
        """Send the request and wait for its answer; what goes wrong on the way is the answer's `error`."""
        request = self._request
        try:
            self._socket.connect((str(request.connect.ip), request.connect.port))
            if request.kind is Kind.ICMP:
                return self._echo()
            if request.kind in (Kind.UDP, Kind.DNS):
                return self._datagram()
            if request.kind is Kind.TCP:
                return Answer(reason="the connection was accepted")
            return self._http()
        except TimeoutError:
            return Answer(error=f"no answer within {request.timeout:g} s")
        except ConnectionRefusedError as error:
            udp = request.protocol == 17
            return Answer(error=_UNREACHABLE if udp else (error.strerror or "refused").lower())
        except ssl.SSLError as error:
            return Answer(error=f"TLS failed: {error.reason or error}")
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                return self._too_long()
            return Answer(error=(error.strerror or str(error)).lower())
        except http.client.HTTPException as error:
            return Answer(error=f"the answer is not HTTP: {type(error).__name__}")

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _prepare(self) -> None:
        request = self._request
        if request.ttl:
            self._socket.setsockopt(*_HOPS[request.family], request.ttl)
        if request.size:
            self._socket.setsockopt(*_MTU_DISCOVER[request.family], _PROBE)

    def _http(self) -> Answer:
        request = self._request
        connection = http.client.HTTPConnection(str(request.connect.ip), request.connect.port)
        connection.sock = self._socket
        if self._tls is not None:
            name = urlsplit(f"//{request.host}").hostname or request.host
            connection.sock = self._socket = self._tls.wrap_socket(
                self._socket, server_hostname=name
            )
        # Never another connection: it would be opened where this thread stands.
        connection.auto_open = 0
        for number in range(1, request.nth):
            self._ask(connection).read()
            if connection.sock is None:
                return Answer(error=f"the server closed the connection after request {number}")
        response = self._ask(connection, (HEADER, request.id), ("Connection", "close"))
        return Answer(
            status=response.status,
            reason=response.reason,
            headers=tuple(response.getheaders()),
            body=response.read(MAX_BODY),
        )

    def _ask(
        self, connection: http.client.HTTPConnection, *more: tuple[str, str]
    ) -> http.client.HTTPResponse:
        request = self._request
        connection.putrequest(
            request.method, request.path, skip_host=True, skip_accept_encoding=True
        )
        for name, value in (("Host", request.host), *more, *request.headers):
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse()

    def _send(self, data: bytes) -> None:
        """Send what may be too long for the link: then in fragments, where these are allowed."""
        try:
            self._socket.send(data)
        except OSError as error:
            if error.errno != errno.EMSGSIZE or self._request.whole:
                raise
            level, option = _MTU_DISCOVER[self._request.family]
            self._socket.setsockopt(level, option, _DONT)
            self._socket.send(data)

    def _too_long(self) -> Answer:
        """What the kernel's EMSGSIZE means."""
        mtu = self._socket.getsockopt(*_MTU[self._request.family])
        words = f"{self._request.size} bytes do not fit a packet of the MTU {mtu}, and it may not be fragmented"
        return Answer(error=words, cause="mtu")

    def _datagram(self) -> Answer:
        request = self._request
        if request.kind is Kind.UDP:
            text = f"netpod trace {request.id}\n".encode()
            self._send(text.ljust(request.size, b"."))
            body = self._socket.recv(65535)
            return Answer(reason=f"{len(body)} bytes came back", body=body)
        from netpod.trace import dnsquery

        self._socket.send(self._question)
        return dnsquery.answer(self._question, self._socket.recv(65535))

    def _echo(self) -> Answer:
        payload = self._request.id.encode().ljust(self._request.size or _SHORT, b".")
        asking, answering = _ECHO[self._request.family]
        four = self._request.family is Family.IPV4
        header = struct.pack("!BBHHH", asking, 0, 0, self.source.port, 1)
        if four:
            # The kernel puts in that of ICMPv6, which covers the addresses too.
            check = _checksum(header + payload)
            header = struct.pack("!BBHHH", asking, 0, check, self.source.port, 1)
        self._send(header + payload)
        while True:
            # The socket is connected: errors of routers come as its own.
            data = self._socket.recv(65535)
            start = (data[0] & 15) * 4 if four else 0
            kind, identity = data[start], int.from_bytes(data[start + 4 : start + 6], "big")
            if kind == answering and identity == self.source.port:
                return Answer(reason=f"echo reply, {len(data) - start - 8} bytes")


def _question(request: TraceRequest) -> bytes:
    from netpod.trace import dnsquery

    return dnsquery.question(request.query, request.record)


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    # A trace asks where packets go, not whom to trust.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _checksum(data: bytes) -> int:
    """The internet checksum. Source: RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = int(sum(struct.unpack(f"!{len(data) // 2}H", data)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
