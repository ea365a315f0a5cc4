"""The client: one real HTTP request from a namespace, its source port known before the first packet leaves."""

import http.client
import socket
from ipaddress import IPv4Address

from netpod.errors import KernelError
from netpod.linux import netns
from netpod.trace.model import Address, Answer
from netpod.trace.request import HEADER, TraceRequest

MAX_BODY = 1 << 20


class Probe:
    """A TCP socket in the client's namespace, bound but not yet connected; `source` is its address."""

    def __init__(self, request: TraceRequest) -> None:
        self._request = request
        self._socket = netns.socket_in(
            request.netns, socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, 0
        )
        self._socket.settimeout(request.timeout)
        try:
            # The address a packet to the destination would get; connecting a UDP socket sends nothing.
            with netns.socket_in(request.netns, socket.AF_INET, socket.SOCK_DGRAM, 0) as route:
                route.connect((str(request.connect.ip), request.connect.port))
                ip = route.getsockname()[0]
            self._socket.bind((ip, 0))
        except OSError as error:
            self._socket.close()
            raise KernelError(
                f"cannot reach {request.connect}", errno=error.errno or 0, netns=request.netns
            ) from error
        ip, port = self._socket.getsockname()
        self.source = Address(IPv4Address(ip), port)

    def send(self) -> Answer:
        """Send the request and wait for its answer; what goes wrong on the way is the answer's `error`."""
        request = self._request
        connection = http.client.HTTPConnection(str(request.connect.ip), request.connect.port)
        try:
            self._socket.connect((str(request.connect.ip), request.connect.port))
            connection.sock = self._socket
            connection.putrequest(
                request.method, request.path, skip_host=True, skip_accept_encoding=True
            )
            fixed = (("Host", request.host), (HEADER, request.id), ("Connection", "close"))
            for name, value in (*fixed, *request.headers):
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            return Answer(
                status=response.status,
                reason=response.reason,
                headers=tuple(response.getheaders()),
                body=response.read(MAX_BODY),
            )
        except TimeoutError:
            return Answer(error=f"no answer within {request.timeout:g} s")
        except OSError as error:
            return Answer(error=(error.strerror or str(error)).lower())
        except http.client.HTTPException as error:
            return Answer(error=f"the answer is not HTTP: {type(error).__name__}")

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
