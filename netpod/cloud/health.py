"""Asks a node's proxy whether it has endpoints of a Service: externalTrafficPolicy Local drops traffic elsewhere."""

import asyncio
import socket

from netpod.errors import KernelError
from netpod.ip import Address, family_of, host_port
from netpod.linux import netns

TIMEOUT = 1.0
"""Seconds after which a node that does not answer has no endpoints."""


async def check(namespace: str, node: Address, port: int) -> bool:
    """Whether `http://node:port/` answers 200, asked from a network namespace."""
    try:
        sock = await asyncio.to_thread(
            netns.socket_in, namespace, family_of(node).af, socket.SOCK_STREAM
        )
    except KernelError:
        return False
    sock.setblocking(False)
    try:
        async with asyncio.timeout(TIMEOUT):
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, (str(node), port))
            await loop.sock_sendall(
                sock, f"GET /healthz HTTP/1.0\r\nHost: {host_port(node, port)}\r\n\r\n".encode()
            )
            answer = b""
            while b"\r\n" not in answer and (more := await loop.sock_recv(sock, 4096)):
                answer += more
            return answer.split(b" ", 2)[1:2] == [b"200"]
    except (OSError, TimeoutError):
        return False
    finally:
        sock.close()
