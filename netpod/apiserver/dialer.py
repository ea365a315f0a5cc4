"""How the API server reaches kubelets, pods and Services: from where it stands, or from where it is told to stand."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from netpod.ip import Family, host_port

CONNECT_SECONDS = 5.0
BUFFER = 1 << 16


def _here(family: Family) -> socket.socket:
    return socket.socket(family.af, socket.SOCK_STREAM)


def _nobody() -> ssl.SSLContext:
    return ssl.create_default_context()


def _careless() -> ssl.SSLContext:
    """For pods and Services: nobody vouches for their certificates. Source: upstream's proxy transport."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a request goes. `secure` is "" for plain HTTP, "kubelet", or "any" for TLS without a known authority."""

    address: str
    port: int
    secure: str = ""

    @property
    def url(self) -> str:
        """Scheme, address and port."""
        return f"{'https' if self.secure else 'http'}://{host_port(self.address, self.port)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialer:
    """Opens connections.

    Attributes:
        open_socket: A TCP socket of a family where the API server is to stand, not connected.
        kubelet_tls: TLS with the certificate that kubelets know the API server by.
    """

    open_socket: Callable[[Family], socket.socket] = _here
    kubelet_tls: Callable[[], ssl.SSLContext] = _nobody


class Connector:
    """A dialer with what it needs made on first use; close it in the end."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._session: aiohttp.ClientSession | None = None

    def tls(self, target: Target) -> ssl.SSLContext | None:
        """TLS for a target, None for plain HTTP."""
        if not target.secure:
            return None
        if target.secure not in self._contexts:
            make = self._dialer.kubelet_tls if target.secure == "kubelet" else _careless
            self._contexts[target.secure] = make()
        return self._contexts[target.secure]

    async def connect(self, target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a raw connection.

        Raises:
            OSError: nobody answers; TimeoutError is one.
        """
        family = Family.IPV6 if ":" in target.address else Family.IPV4
        sock = self._dialer.open_socket(family)
        try:
            sock.setblocking(False)
            tls = self.tls(target)
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(sock, (target.address, target.port))
                name = target.address if tls else None
                return await asyncio.open_connection(
                    sock=sock, ssl=tls, server_hostname=name, limit=BUFFER
                )
        except BaseException:
            sock.close()
            raise

    def http(self) -> aiohttp.ClientSession:
        """Client for ordinary requests; it changes neither bodies nor redirections."""
        if self._session is None:

            def open_socket(address: Any) -> socket.socket:
                return self._dialer.open_socket(
                    Family.IPV6 if address[0] == Family.IPV6.af else Family.IPV4
                )

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, socket_factory=open_socket),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        return self._session

    async def close(self) -> None:
        """Close all connections of `http`."""
        if self._session is not None:
            await self._session.close()
