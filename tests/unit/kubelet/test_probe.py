"""Counting answers, and asking real servers."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest
from aiohttp import web

from netpod.api import meta
from netpod.api.cri import NO_SUCH_EXEC
from netpod.api.pod import (
    ContainerPort,
    ExecAction,
    GRPCAction,
    HTTPGetAction,
    HTTPHeader,
    Probe,
    TCPSocketAction,
)
from netpod.cluster import selfsigned
from netpod.errors import Unavailable
from netpod.kubelet import probe as probes
from netpod.kubelet.probe import SUCCESS, Answer, Counter, Outcome, Prober, Probes, Target

GOOD, BAD, BROKEN = Outcome.SUCCESS, Outcome.FAILURE, Outcome.UNKNOWN


def test_a_result_changes_at_its_threshold_only() -> None:
    """Answers must agree in a row; one that is neither is not counted."""
    counter = Counter(True, 2, 3)
    changes = [counter.feed(it) for it in (BAD, BAD, GOOD, BAD, BAD, BROKEN, BAD, BAD, GOOD, GOOD)]
    assert changes == [False] * 6 + [True, False, False, True]


def test_a_port_is_resolved_by_name() -> None:
    """A name is looked up among the container's ports."""
    ports = (ContainerPort(name="http", container_port=8080),)
    assert probes.resolve("http", ports) == 8080
    assert probes.resolve(81, ports) == probes.resolve("81", ports) == 81
    with pytest.raises(ValueError, match="no port is named"):
        probes.resolve("https", ports)


async def _run(argv: tuple[str, ...], seconds: float) -> tuple[int, str]:
    match argv[0]:
        case "slow":
            raise TimeoutError
        case "gone":
            raise Unavailable("cannot ask shim: gone")
        case "missing":
            return 127, NO_SUCH_EXEC + 'exec: "missing": executable file not found in $PATH'
    return (0, "fine") if argv[0] == "true" else (1, "no such table")


def _asked(probe: Callable[[int], Probe], *, stands_in: bool = False) -> Answer:
    """Answer of a probe against a server that listens on a port of its own."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        assert request.headers["User-Agent"] == "kube-probe/1.30"
        if request.path == "/elsewhere":
            raise web.HTTPFound("http://192.0.2.1/")
        if request.path == "/here":
            raise web.HTTPFound("/500")
        if request.path == "/slow":
            await asyncio.sleep(1.1)
        status = int(request.path[1:]) if request.path[1:].isdigit() else 200
        return web.Response(status=status)

    async def main() -> Answer:
        runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        prober = Prober()
        ports = (ContainerPort(name="http", container_port=port),)
        target = Target(pod_ip="127.0.0.1", ports=ports, stands_in=stands_in, run=_run)
        try:
            return await prober.ask(probe(port), target)
        finally:
            await prober.close()
            await runner.cleanup()

    return asyncio.run(main())


def _http(path: str, scheme: str = "") -> Callable[[int], Probe]:
    return lambda port: Probe(http_get=HTTPGetAction(path=path, port="http", scheme=scheme))


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/", GOOD),
        ("/399", GOOD),
        ("/400", BAD),
        ("/503", BAD),
        ("/here", BAD),
        ("/elsewhere", GOOD),
        ("/slow", BAD),
    ],
)
def test_http_status_decides(path: str, outcome: Outcome) -> None:
    """200 to 399 is success; redirects are followed on the same host only; no answer in time is failure."""
    assert _asked(_http(path)).outcome == outcome


def test_http_failure_says_the_status() -> None:
    """In upstream's words."""
    assert _asked(_http("/503")).message == "HTTP probe failed with statuscode: 503"


def test_https_of_a_stand_in_is_asked_as_http() -> None:
    """The stand-in has no certificate."""
    assert _asked(_http("/", "HTTPS")).outcome == BAD
    assert _asked(_http("/", "HTTPS"), stands_in=True).outcome == GOOD


def _heard(get: Callable[[int], HTTPGetAction], tls: ssl.SSLContext | None = None) -> list[str]:
    """Requests that a server of 127.0.0.1 got by one probe of a pod at 127.0.0.2: scheme, Host and other headers."""
    heard: list[str] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        names = ("X-Token", "User-Agent", "Accept")
        said = ",".join(value for name in names for value in request.headers.getall(name, []))
        heard.append(f"{request.scheme} {request.headers['Host'].partition(':')[0]} {said}")
        return web.Response()

    async def main() -> None:
        runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        prober = Prober()
        target = Target(pod_ip="127.0.0.2", ports=(), stands_in=False, run=_run)
        try:
            answer = await prober.ask(Probe(http_get=get(runner.addresses[0][1])), target)
        finally:
            await prober.close()
            await runner.cleanup()
        assert (answer.outcome == GOOD) is bool(heard)

    asyncio.run(main())
    return heard


def test_a_probe_asks_the_host_it_names() -> None:
    """Else the pod's address, where nobody listens."""
    assert _heard(lambda port: HTTPGetAction(port=port)) == []
    told = _heard(lambda port: HTTPGetAction(port=port, host="127.0.0.1"))
    assert told == ["http 127.0.0.1 kube-probe/1.30,*/*"]


def test_http_headers_are_sent_and_win() -> None:
    """Host is what virtual hosts are told by; a name given twice is sent twice; User-Agent and Accept may be others."""
    rows = (
        ("Host", "shop.example"),
        ("X-Token", "a"),
        ("X-Token", "b"),
        ("user-agent", "mine"),
        ("Accept", "text/plain"),
    )
    headers = tuple(HTTPHeader(name=name, value=value) for name, value in rows)
    told = _heard(lambda port: HTTPGetAction(port=port, host="127.0.0.1", http_headers=headers))
    assert told == ["http shop.example a,b,mine,text/plain"]


def test_https_takes_any_certificate(tmp_path: Path) -> None:
    """A self-signed one for another name is good enough to be asked, as with upstream."""
    pem = tmp_path / "pem"
    pem.write_text(selfsigned.pem("other.example", meta.now()))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    told = _heard(lambda port: HTTPGetAction(port=port, host="127.0.0.1", scheme="HTTPS"), tls)
    assert told == ["https 127.0.0.1 kube-probe/1.30,*/*"]


def test_tcp_needs_a_listener() -> None:
    """A connection that is made is success."""
    assert _asked(lambda port: Probe(tcp_socket=TCPSocketAction(port=port))).outcome == GOOD
    assert _asked(lambda port: Probe(tcp_socket=TCPSocketAction(port=1))).outcome == BAD


@pytest.mark.parametrize(
    ("program", "outcome"),
    [("true", GOOD), ("false", BAD), ("slow", BAD), ("gone", BROKEN), ("missing", BROKEN)],
)
def test_exec_exit_status_decides(program: str, outcome: Outcome) -> None:
    """0 is success; a shim that is away, or a command that is not there, says nothing about the container."""
    probe = Probe(exec_=ExecAction(command=(program,)))
    assert _asked(lambda port: probe).outcome == outcome
    assert _asked(lambda port: probe, stands_in=True).outcome == GOOD


def test_failures_are_said_in_upstreams_words() -> None:
    """What a command wrote, and Go's words for connections that are refused."""
    assert (
        _asked(lambda port: Probe(exec_=ExecAction(command=("false",)))).message == "no such table"
    )
    slow = Probe(exec_=ExecAction(command=("slow", "x")), timeout_seconds=2)
    assert _asked(lambda port: slow).message == 'command timed out: "slow x" timed out after 2s'
    refused = "dial tcp 127.0.0.1:1: connect: connection refused"
    assert _asked(lambda port: Probe(tcp_socket=TCPSocketAction(port=1))).message == refused
    asked = Probe(http_get=HTTPGetAction(path="/up", port=1))
    assert _asked(lambda port: asked).message == f'Get "http://127.0.0.1:1/up": {refused}'


class _Health:
    """A server of HTTP/2 that answers every call with given headers, message and trailers."""

    def __init__(
        self, headers: list[tuple[str, str]], body: bytes, trailers: list[tuple[str, str]]
    ) -> None:
        self.headers, self.body, self.trailers = headers, body, trailers
        self.asked: list[tuple[str, bytes]] = []
        self.left: asyncio.Event

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        path = ""
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    path = dict(event.headers)[b":path"].decode()
                elif isinstance(event, h2.events.DataReceived):
                    self.asked.append((path, event.data))
                elif isinstance(event, h2.events.StreamEnded):
                    stream = event.stream_id
                    connection.send_headers(stream, self.headers)
                    if self.body:
                        connection.send_data(stream, self.body)
                    connection.send_headers(stream, self.trailers, end_stream=True)
            writer.write(connection.data_to_send())
        writer.close()
        self.left.set()


def _grpc(health: _Health, service: str | None = None) -> Answer:
    """Answer of a gRPC probe against a server."""

    async def main() -> Answer:
        health.left = asyncio.Event()
        server = await asyncio.start_server(health.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        target = Target(pod_ip="127.0.0.1", ports=(), stands_in=False, run=_run)
        async with server:
            probe = Probe(grpc=GRPCAction(port=port, service=service))
            answer = await Prober().ask(probe, target)
            await health.left.wait()
            return answer

    return asyncio.run(main())


GRPC_OK = [(":status", "200"), ("content-type", "application/grpc")]


def test_grpc_health_must_be_serving() -> None:
    """The question is grpc.health.v1's, with the service's name; any other status is failure, in upstream's words."""
    health = _Health(GRPC_OK, b"\0\0\0\0\x02\x08\x01", [("grpc-status", "0")])
    assert _grpc(health, "db") == SUCCESS
    assert health.asked == [("/grpc.health.v1.Health/Check", b"\0\0\0\0\x04\x0a\x02db")]
    assert _grpc(health) == SUCCESS
    assert health.asked[1][1] == b"\0\0\0\0\0"
    health.body = b"\0\0\0\0\x02\x08\x02"
    assert _grpc(health) == Answer(BAD, 'service unhealthy (responded with "NOT_SERVING")')
    health = _Health(GRPC_OK, b"", [("grpc-status", "12"), ("grpc-message", "unknown service")])
    assert _grpc(health) == Answer(
        BAD,
        "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown service",
    )
    health.trailers = [("grpc-status", "5"), ("grpc-message", "no db")]
    assert "rpc error: code = NotFound desc = no db" in _grpc(health).message


def test_grpc_of_what_is_no_such_server_is_failure() -> None:
    """Nobody listens; somebody does, and speaks HTTP/1. A stand-in counts as well."""
    probe = Probe(grpc=GRPCAction(port=1))
    answer = _asked(lambda port: probe)
    words = 'timeout: failed to connect service "127.0.0.1:1" within 1s: context deadline exceeded'
    assert (answer.outcome, answer.message) == (BAD, words)
    assert _asked(lambda port: Probe(grpc=GRPCAction(port=port))).outcome == BAD
    assert _asked(lambda port: probe, stands_in=True).outcome == GOOD


def _followed(
    answers: dict[str, list[Answer]], **kinds: Probe
) -> tuple[list[tuple[bool, bool, str]], list[str]]:
    """States a container's probes went through, and complaints, until the answers are used up."""
    states: list[tuple[bool, bool, str]] = []
    said: list[str] = []

    async def main() -> None:
        done = asyncio.Event()

        async def ask(kind: str, probe: Probe) -> Answer:
            assert kinds[kind.lower()] is probe
            if not answers[kind.lower()]:
                done.set()
                await asyncio.Event().wait()
            return answers[kind.lower()].pop(0)

        subject = Probes(
            kinds.get("startup"),
            kinds.get("liveness"),
            kinds.get("readiness"),
            ask=ask,
            changed=lambda: states.append((subject.started, subject.ready, subject.failed)),
            unhealthy=lambda kind, why: said.append(kind),
        )
        subject.listening.set()
        async with asyncio.TaskGroup() as tasks:
            both = [tasks.create_task(subject.run()), tasks.create_task(done.wait())]
            await asyncio.wait(both, timeout=5, return_when=asyncio.FIRST_COMPLETED)
            for task in both:
                task.cancel()

    asyncio.run(main())
    return states, said


FAILED = Answer(BAD, "x")


def test_readiness_waits_for_startup() -> None:
    """While startup has not succeeded nothing else is asked."""
    states, said = _followed(
        {"startup": [SUCCESS], "readiness": [SUCCESS]},
        startup=Probe(),
        readiness=Probe(period_seconds=1),
    )
    assert states == [(True, False, ""), (True, True, "")]
    assert said == []


def test_liveness_gives_up_at_its_threshold() -> None:
    """A failed liveness probe is final for the instance."""
    states, said = _followed({"liveness": [FAILED]}, liveness=Probe(failure_threshold=1))
    assert states == [(True, True, "failed liveness probe")]
    assert said == ["Liveness"]


def test_startup_that_fails_ends_the_container() -> None:
    """Without ever asking readiness."""
    states, _ = _followed(
        {"startup": [FAILED], "readiness": []},
        startup=Probe(failure_threshold=1),
        readiness=Probe(),
    )
    assert states == [(False, False, "failed startup probe")]
