"""Names outside the cluster: who is asked, and the question itself.

A query goes on as it came and its answer comes back as it was given; only who answers is checked. Stub domains are
asked from this pod. Everything else goes, if at all, to a unix socket of the machine (dns/relay.py), because no route
leads out of the cluster.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

import orjson

TIMEOUT = 2.0
PENDING = 256
"""Questions under way at a time; more get SERVFAIL."""
PORT = 53
RELAY = "relay"
"""What the machine's socket is called where others have an address."""
_NAME = re.compile(r"[a-z0-9_]([-a-z0-9_.]*[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Who answers for names outside the zone.

    Attributes:
        hosts: Addresses by name, in lower case.
        stubs: Name servers by domain, in lower case without dots at its ends.
        relay: The machine's socket for all other names; None sends nothing out.
        log: Whether each query is written down, see querylog.py.
        problems: What could not be read.
    """

    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stubs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    relay: Path | None = None
    log: bool = False
    problems: tuple[str, ...] = ()

    def servers(self, name: str) -> tuple[str, ...]:
        """Name servers of the longest stub domain that a name is in."""
        while name:
            if name in self.stubs:
                return self.stubs[name]
            name = name.partition(".")[2]
        return ()


def rules(data: Mapping[str, str], relay: Path | None) -> Rules:
    """Read ConfigMap kube-system/dns.

    Args:
        data: `hosts`, lines as in hosts(5), and `stubDomains`, JSON of domain -> addresses, as kube-dns had it;
            `log`, true or false.
        relay: The machine's socket, if names may leave the cluster.
    """
    problems: list[str] = []
    hosts: dict[str, tuple[str, ...]] = {}
    for line in data.get("hosts", "").splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if not address:
            continue
        if not _is_address(address) or not names:
            problems.append(f"hosts: {line.strip()!r} is no ADDRESS NAME...")
            continue
        for name in names:
            key = name.lower().rstrip(".")
            hosts[key] = (*hosts.get(key, ()), address)
    stubs: dict[str, tuple[str, ...]] = {}
    try:
        said = orjson.loads(data.get("stubDomains") or "{}")
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        problems.append("stubDomains: write JSON, a list of addresses by domain")
        said = {}
    for domain, servers in said.items():
        name = domain.lower().strip(".")
        known = [s for s in servers if _is_server(s)] if isinstance(servers, list) else []
        if not known or not _NAME.fullmatch(name):
            problems.append(f"stubDomains: {domain!r} has no address of a name server")
            continue
        stubs[name] = tuple(known)
    logged = data.get("log", "false").strip().lower()
    if logged not in ("true", "false"):
        problems.append(f"log: {logged!r} is neither true nor false")
    return Rules(
        hosts=hosts, stubs=stubs, relay=relay, log=logged == "true", problems=tuple(problems)
    )


async def ask(
    chosen: Rules, name: str, query: bytes, *, tcp: bool, told: Callable[[str, bytes, float], None]
) -> bytes:
    """Return somebody else's answer to a query.

    Args:
        chosen: Who is asked.
        name: What about, in lower case.
        query: As it came.
        tcp: Whether over TCP.
        told: Of each who was asked, with the answer, b"" for none, and the seconds it took.

    Raises:
        OSError: nobody answered; TimeoutError is one.
    """
    last: OSError = OSError(f"nobody answers for {name}")
    for server in chosen.servers(name):
        answer, began = b"", time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await exchange(server, query, tcp=tcp)
                return answer
        except OSError as error:
            last = error
        finally:
            told(server if ":" in server else f"{server}:{PORT}", answer, time.monotonic() - began)
    if not chosen.servers(name) and chosen.relay is not None:
        answer, began = b"", time.monotonic()
        try:
            async with asyncio.timeout(2 * TIMEOUT):
                reader, writer = await asyncio.open_unix_connection(str(chosen.relay))
                answer = await _stream(reader, writer, bytes([tcp]) + query)
                return answer
        finally:
            told(RELAY, answer, time.monotonic() - began)
    raise last


async def exchange(server: str, query: bytes, *, tcp: bool, port: int = PORT) -> bytes:
    """Ask one server, `ADDRESS` or `ADDRESS:PORT`, from here.

    Raises:
        OSError: it cannot be reached, or broke off.
    """
    host, _, said = server.partition(":") if server.count(":") == 1 else (server, "", "")
    port = int(said or port)
    if tcp:
        return await _stream(*await asyncio.open_connection(host, port), query)
    answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    # A connected socket gets answers of that server only.
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Answer(query, answered), remote_addr=(host, port)
    )
    try:
        return await answered
    finally:
        transport.close()


async def _stream(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, query: bytes
) -> bytes:
    try:
        writer.write(len(query).to_bytes(2, "big") + query)
        await writer.drain()
        size = int.from_bytes(await reader.readexactly(2), "big")
        return await reader.readexactly(size)
    except asyncio.IncompleteReadError as error:
        raise OSError("the name server broke off") from error
    finally:
        writer.close()


class _Answer(asyncio.DatagramProtocol):
    def __init__(self, query: bytes, answered: "asyncio.Future[bytes]") -> None:
        self._query = query
        self._answered = answered

    def connection_made(self, transport: Any) -> None:
        transport.sendto(self._query)

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data[:2] == self._query[:2] and not self._answered.done():
            self._answered.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._answered.done():
            self._answered.set_exception(exc)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_server(text: object) -> bool:
    if not isinstance(text, str):
        return False
    host, _, port = text.partition(":")
    try:
        IPv4Address(host)
        return not port or 0 < int(port) < 65536
    except ValueError:
        return False
