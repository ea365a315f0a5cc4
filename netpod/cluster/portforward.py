"""`netpod port-forward`: ports of this machine's 127.0.0.1 that lead to 127.0.0.1 inside a pod.

Source: kubectl pkg/cmd/portforward, client-go tools/portforward: forms of ports, and what is printed.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netpod.errors import BadRequest, KernelError, NetpodError, NotFound
from netpod.linux import netns

ADDRESS = "127.0.0.1"
_CHUNK = 1 << 16

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Forward:
    """A port here, 0 for any that is free, and one in the pod."""

    local: int
    remote: int


class LostPod(NetpodError):
    """The pod is not there any more."""


def parse(word: str, remote: Callable[[str], int]) -> Forward:
    """Read `[LOCAL:]REMOTE`; `:REMOTE` takes any free port here.

    Args:
        word: From the command line.
        remote: Gives the pod's port for a number or a name.

    Raises:
        BadRequest: it has another form.
    """
    head, colon, tail = word.rpartition(":")
    if ":" in head or not tail:
        raise BadRequest(f"invalid port format '{word}'")
    found = remote(tail)
    if not colon:
        # A Service's own number is the one here, as upstream has it; a name has none of its own.
        return Forward(int(tail) if tail.isdecimal() else found, found)
    return Forward(number(head) if head else 0, found)


def number(text: str) -> int:
    """Return a port's number.

    Raises:
        BadRequest: it is none.
    """
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise BadRequest(f"error parsing port {text!r}: must be a number from 1 to 65535")
    return int(text)


def pod_port(pod: Mapping[str, Any], word: str) -> int:
    """Return the port of a pod that a number or a port's name means.

    Raises:
        NotFound: no container has a port of that name.
    """
    if word.isdecimal():
        return number(word)
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or ():
            if port.get("name") == word:
                return int(port["containerPort"])
    raise NotFound(f"Pod '{pod['metadata']['name']}' does not have a named port '{word}'")


def service_port(service: Mapping[str, Any], pod: Mapping[str, Any], word: str) -> int:
    """Return the port of a pod behind a Service's port, given by number or name.

    Raises:
        NotFound: the Service has no such port.
    """
    for port in service["spec"].get("ports") or ():
        if word in (str(port["port"]), port.get("name")):
            if service["spec"].get("clusterIP") == "None":
                return int(port["port"])
            return pod_port(pod, str(port.get("targetPort", port["port"])))
    raise NotFound(f"Service {service['metadata']['name']} does not have a service port {word}")


async def run(name: str, forwards: Sequence[Forward], say: Say, complain: Say) -> None:
    """Forward until cancelled.

    Args:
        name: The pod's network namespace.
        forwards: The ports; all are open before anything is said.
        say: Told what happens.
        complain: Told what fails.

    Raises:
        NetpodError: a port here is taken.
        LostPod: the pod went away.
    """
    lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with contextlib.AsyncExitStack() as stack:
        lines = []
        for forward in forwards:
            carrier = _Carrier(name, forward, say, complain, lost)
            try:
                server = await asyncio.start_server(carrier.serve, ADDRESS, forward.local)
            except OSError as error:
                raise NetpodError(
                    f"unable to listen on port {forward.local}: "
                    f"{os.strerror(error.errno or 0).lower()}"
                ) from error
            stack.push_async_callback(_stop, server)
            carrier.local = server.sockets[0].getsockname()[1]
            lines.append(f"Forwarding from {ADDRESS}:{carrier.local} -> {forward.remote}")
        for line in lines:
            say(line)
        await lost


async def _stop(server: asyncio.Server) -> None:
    server.close()


class _Carrier:
    def __init__(
        self, name: str, forward: Forward, say: Say, complain: Say, lost: asyncio.Future[None]
    ) -> None:
        self.local = forward.local
        self._name = name
        self._remote = forward.remote
        self._say = say
        self._complain = complain
        self._lost = lost

    async def serve(self, near: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        self._say(f"Handling connection for {self.local}")
        try:
            far, pod = await self._dial()
        except KernelError:
            client.close()
            if not self._lost.done():
                self._lost.set_exception(LostPod("lost connection to pod"))
            return
        except OSError as error:
            cause = os.strerror(error.errno or 0).lower()
            self._complain(
                f"an error occurred forwarding {self.local} -> {self._remote}: "
                f"dial tcp4 {ADDRESS}:{self._remote}: connect: {cause}"
            )
            client.close()
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_copy(near, pod))
                tasks.create_task(_copy(far, client))
        finally:
            pod.close()
            client.close()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = netns.socket_in(self._name, socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, (ADDRESS, self._remote))
            return await asyncio.open_connection(sock=sock)
        except BaseException:
            sock.close()
            raise


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
