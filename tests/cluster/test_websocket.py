"""Streams as WebSocket clients other than kubectl use them: the official Python client, browsers, scripts."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
import orjson
import pytest

from netpod.kubelet import portforward
from netpod.kubelet.spdy_frames import Control, Data, Frame, Kind, Parser, Writer
from tests.support import wait
from tests.support.cluster import Cluster

T = TypeVar("T")
Socket = aiohttp.ClientWebSocketResponse
Work = Callable[[Socket], Awaitable[T]]


class Streams:
    """Opens WebSockets to subresources of one pod, as an administrator."""

    def __init__(self, cluster: Cluster, pod: str) -> None:
        self.socket = str(cluster.paths.api_socket)
        self.pod = pod

    def run(self, path: str, protocols: tuple[str, ...], work: Work[T]) -> T:
        """Have `work` done with a WebSocket to `path` of the pod."""

        async def main() -> T:
            connector = aiohttp.UnixConnector(self.socket)
            url = f"http://apiserver/api/v1/namespaces/default/pods/{self.pod}/{path}"
            async with asyncio.timeout(15), aiohttp.ClientSession(connector=connector) as session:
                async with session.ws_connect(url, protocols=protocols) as socket:
                    return await work(socket)

        return asyncio.run(main())


@pytest.fixture
def streams(cluster: Cluster) -> Streams:
    """A pod of the example."""
    return Streams(cluster, str(cluster.ready_pods()[0]["metadata"]["name"]))


async def _all(socket: Socket) -> list[bytes]:
    """All messages until the server closes, as bytes."""
    messages = [message.data async for message in socket]
    return [data.encode() if isinstance(data, str) else data for data in messages]


def _channel(messages: list[bytes], number: int) -> bytes:
    return b"".join(m[1:] for m in messages if m[0] == number)


EXEC = "exec?command=sh&command=-c&stdout=1&stderr=1"


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "v5.channel.k8s.io"])
def test_channels_carry_output_and_status(streams: Streams, protocol: str) -> None:
    """Channel 1 is stdout, 2 stderr, and 3 says at the end how it ended; then the server closes."""
    path = f"{EXEC}&command=echo+out;echo+err+>%262;exit+7"
    messages = streams.run(path, (protocol,), _all)
    assert messages[0] == b"\x01"  # the empty message that says: connected
    assert _channel(messages, 1) == b"out\n"
    assert _channel(messages, 2) == b"err\n"
    status = orjson.loads(_channel(messages, 3))
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]


def test_success_is_a_status_too(streams: Streams) -> None:
    """Since version 4 the error channel says Success; before, it says nothing."""
    status = _channel(streams.run(f"{EXEC}&command=true", ("v4.channel.k8s.io",), _all), 3)
    assert orjson.loads(status)["status"] == "Success"
    assert _channel(streams.run(f"{EXEC}&command=true", (), _all), 3) == b""


def test_text_clients_get_base64(streams: Streams) -> None:
    """Whoever can only do text asks for base64 and gets digits for channels."""
    path = f"{EXEC}&command=echo+out"
    messages = streams.run(path, ("v4.base64.channel.k8s.io",), _all)
    lines = [base64.b64decode(message[1:]) for message in messages if message[:1] == b"1"]
    assert b"".join(lines) == b"out\n"


def test_version_5_ends_the_input(streams: Streams) -> None:
    """Message 255 0 is the end of standard input, which version 4 cannot say."""

    async def work(socket: Socket) -> bytes:
        await socket.send_bytes(b"\x00three\nlines\nhere\n")
        await socket.send_bytes(b"\xff\x00")
        return _channel(await _all(socket), 1)

    path = "exec?command=wc&command=-l&stdin=1&stdout=1"
    assert streams.run(path, ("v5.channel.k8s.io",), work).strip() == b"3"


def test_a_terminal_is_resized_by_channel_4(streams: Streams) -> None:
    """The Python client writes the size as JSON without a newline."""

    async def work(socket: Socket) -> bytes:
        await socket.send_bytes(b'\x04{"Width":91,"Height":17}')
        await socket.send_bytes(b"\x00until stty size | grep '17 91'; do sleep .1; done; exit\n")
        return _channel(await _all(socket), 1)

    path = "exec?command=sh&stdin=1&stdout=1&tty=1"
    assert b"17 91\r\n" in streams.run(path, ("v4.channel.k8s.io",), work)


@pytest.mark.parametrize(
    ("path", "protocols", "status"),
    [
        (f"{EXEC}&command=true", ("v9.channel.k8s.io",), 403),
        ("exec?stdout=1", ("v4.channel.k8s.io",), 400),
        ("exec?command=true", ("v4.channel.k8s.io",), 400),
        (f"{EXEC}&container=nope", ("v4.channel.k8s.io",), 400),
        ("portforward?ports=0", ("v4.channel.k8s.io",), 400),
    ],
)
def test_what_cannot_be_is_refused_before_the_upgrade(
    streams: Streams, path: str, protocols: tuple[str, ...], status: int
) -> None:
    """No protocol in common, no command, no stream, no such container, no such port."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        streams.run(path, protocols, _all)
    assert caught.value.status == status


def test_without_an_upgrade_there_is_no_exec(streams: Streams, cluster: Cluster) -> None:
    """An ordinary request cannot carry streams, and says so."""
    path = f"/api/v1/namespaces/default/pods/{streams.pod}/exec"
    with pytest.raises(Exception, match="Upgrade request required"):
        cluster.request("POST", path, query={"command": "true", "stdout": "1"})


def test_the_python_clients_port_forward(streams: Streams) -> None:
    """Two channels a port, data and error, each begun by the port in little endian."""

    async def work(socket: Socket) -> tuple[list[bytes], bytes, bytes]:
        begun = [await socket.receive_bytes() for _ in range(4)]
        await socket.send_bytes(b"\x00GET /py HTTP/1.0\r\nHost: x\r\n\r\n")
        answer, refused = b"", b""
        while b"}" not in answer or not refused:
            message = await socket.receive_bytes()
            answer += message[1:] if message[0] == 0 else b""
            refused += message[1:] if message[0] == 3 else b""
        return begun, answer, refused

    found = streams.run("portforward?ports=8080&ports=9", ("v4.channel.k8s.io",), work)
    begun, answer, refused = found
    assert begun == [b"\x00\x90\x1f", b"\x01\x90\x1f", b"\x02\x09\x00", b"\x03\x09\x00"]
    assert b'"path":"/py"' in answer
    assert b"connection refused" in refused


def test_spdy_in_websocket_messages(streams: Streams) -> None:
    """kubectl since 1.31 tunnels SPDY, cut into messages anywhere."""

    async def work(socket: Socket) -> bytes:
        writer, parser = Writer(), Parser()
        headers = {"port": "8080", "requestid": "0"}
        frames: list[Frame] = [
            Control(Kind.SYN_STREAM, 1, True, {**headers, "streamtype": "error"}),
            Control(Kind.SYN_STREAM, 3, False, {**headers, "streamtype": "data"}),
            Data(3, b"GET /tunnel HTTP/1.0\r\n\r\n", fin=True),
            Control(Kind.PING, 1),
        ]
        stream = b"".join(writer.pack(frame) for frame in frames)
        for start in range(0, len(stream), 7):
            await socket.send_bytes(stream[start : start + 7])
        seen: list[Any] = []

        def complete() -> bool:
            ended = any(isinstance(f, Data) and f.stream == 3 and f.fin for f in seen)
            return ended and Control(Kind.PING, 1) in seen

        while not complete():
            seen += parser.feed(await socket.receive_bytes())
        return b"".join(f.data for f in seen if isinstance(f, Data) and f.stream == 3)

    assert b'"path":"/tunnel"' in streams.run("portforward", (portforward.TUNNEL,), work)


def test_a_websocket_that_vanishes_takes_its_program_along(
    streams: Streams, cluster: Cluster
) -> None:
    """Closing the WebSocket without a word kills what it ran."""

    async def work(socket: Socket) -> str:
        pid = (await _first(socket, 1)).decode().strip()
        return pid

    path = f"{EXEC}&command=echo+$$;exec+sleep+987"
    pid = streams.run(path, ("v4.channel.k8s.io",), work)
    assert pid.isdecimal()
    wait.until(lambda: not cluster.find("sleep 987"), "the program is gone")


async def _first(socket: Socket, channel: int) -> bytes:
    """What comes first on a channel."""
    while True:
        message = await socket.receive_bytes()
        if message[0] == channel and message[1:]:
            return message[1:]
