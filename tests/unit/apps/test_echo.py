"""What the stand-in answers."""

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from netpod.api.runtime import AppContext, Port
from netpod.apps import echo

PORT = 18080


def context(*ports: Port, **more: object) -> AppContext:
    """The container as it sees itself."""
    fields = {"pod": "web-1", "node": "worker", "namespace": "shop", "pod_ip": "10.244.1.7", **more}
    return AppContext(cluster="c", uid="u", container="c", env={}, ports=ports, **fields)  # type: ignore[arg-type]


@pytest.fixture
def port() -> Iterator[int]:
    """A stand-in that serves TCP."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    serving = threading.Thread(target=echo.Echo(context()).serve_tcp, args=(listener,))
    serving.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    serving.join()
    listener.close()


@contextlib.contextmanager
def connected(port: int) -> Iterator[http.client.HTTPConnection]:
    """One kept connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        yield connection
    finally:
        connection.close()


def ask(
    connection: http.client.HTTPConnection,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    **headers: str,
) -> tuple[int, bytes]:
    """Status and body of an answer."""
    connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_it_says_who_it_is_and_what_it_saw(port: int) -> None:
    """One line of JSON, with every header as sent."""
    with connected(port) as connection:
        status, body = ask(connection, "/a?b=c", Host="example.com", X_Y="1")
        assert status == 200
        assert body.endswith(b"\n")
        assert body.count(b"\n") == 1
        found = json.loads(body)
        headers = found.pop("headers")
        assert headers["Host"] == "example.com"
        assert headers["X-Y"] == "1"
        assert found == {
            "pod": "web-1",
            "node": "worker",
            "namespace": "shop",
            "address": "10.244.1.7",
            "client": "127.0.0.1",
            "method": "GET",
            "path": "/a?b=c",
            "host": "example.com",
        }


def test_one_connection_serves_many_requests(port: int) -> None:
    """Keep-alive, also after HEAD and after bodies of any length."""
    with connected(port) as connection:
        assert ask(connection, "/hostname") == (200, b"web-1\n")
        assert ask(connection, "/hostname", "HEAD") == (200, b"")
        assert ask(connection, "/echo?msg=hi%20you") == (200, b"hi you\n")
        status, body = ask(connection, "/", "POST", b"x" * 3_000_000)
        assert (status, json.loads(body)["method"]) == (200, "POST")
        assert ask(connection, "/healthz") == (200, b"ok\n")
        assert ask(connection, "/delay?ms=10") == (200, b"delayed 10 ms\n")
        local = connection.sock.getsockname()
        assert ask(connection, "/clientip") == (200, f"{local[0]}:{local[1]}\n".encode())


def test_a_chunked_body_is_read_to_its_end(port: int) -> None:
    """So that the next request on the connection is understood."""
    with connected(port) as connection:
        chunks = iter([b"a" * 10, b"b" * 100_000])
        connection.request(
            "POST",
            "/hostname",
            chunks,
            encode_chunked=True,
            headers={"Transfer-Encoding": "chunked"},
        )
        assert connection.getresponse().read() == b"web-1\n"
        assert ask(connection, "/hostname") == (200, b"web-1\n")


def test_a_body_beyond_the_limit_is_refused(port: int) -> None:
    """And the connection closed, for nobody reads the rest."""
    with connected(port) as connection:
        connection.putrequest("POST", "/")
        connection.putheader("Content-Length", str(echo.BODY_LIMIT + 1))
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Connection")) == (413, "close")


@pytest.mark.parametrize("path", ["/exit?code=x", "/exit?code=256", "/delay?ms=-1"])
def test_a_number_that_is_none_is_refused(port: int, path: str) -> None:
    """A mistyped number is said, not obeyed."""
    with connected(port) as connection:
        assert ask(connection, path)[0] == 400


def test_fail_ready_fails_probes_only(port: int) -> None:
    """Whatever path a probe asks; other clients are served as before."""
    with connected(port) as connection:
        assert ask(connection, "/fail-ready?seconds=60")[0] == 200
        assert ask(connection, "/", User_Agent="kube-probe/1.30")[0] == 503
        assert ask(connection, "/healthz")[0] == 503
        assert ask(connection, "/")[0] == 200


class Program:
    """The whole stand-in as a process, as the shim runs it."""

    def __init__(self, *ports: Port) -> None:
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            code = 99
            try:
                code = echo.main(context(*ports, ready=lambda: os.close(writer)))
            finally:
                os._exit(code)
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)

    def wait(self) -> int:
        """Its exit code."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_sigterm_ends_it_well_after_requests_in_work() -> None:
    """Exit code 0; a request that was being answered still is."""
    program = Program(Port(container_port=PORT, protocol="TCP"))
    with connected(PORT) as connection:
        connection.request("GET", "/delay?ms=200")
        # The kernel has the request; give the thread that answers it the time to see it.
        threading.Event().wait(0.05)
        os.kill(program.pid, signal.SIGTERM)
        assert connection.getresponse().read() == b"delayed 200 ms\n"
    assert program.wait() == 0


def test_exit_answers_before_it_ends() -> None:
    """With the code asked for."""
    program = Program(Port(container_port=PORT, protocol="TCP"))
    with connected(PORT) as connection:
        assert ask(connection, "/exit?code=3") == (200, b"exit 3\n")
    assert program.wait() == 3


def test_udp_comes_back() -> None:
    """Each datagram, to where it came from; beside TCP on the same number."""
    ports = [Port(container_port=PORT, protocol=name) for name in ("TCP", "UDP")]
    program = Program(*ports)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.sendto(b"ping", ("127.0.0.1", PORT))
        assert sock.recv(100) == b"ping"
    os.kill(program.pid, signal.SIGTERM)
    assert program.wait() == 0


def test_without_ports_it_waits() -> None:
    """It is ready at once and ends on SIGTERM."""
    program = Program()
    os.kill(program.pid, signal.SIGTERM)
    assert program.wait() == 0


def test_a_port_in_use_ends_it() -> None:
    """As a real program would."""
    with socket.create_server(("", PORT)):
        assert Program(Port(container_port=PORT, protocol="TCP")).wait() == 1
