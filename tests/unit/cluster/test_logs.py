"""All logs as one: by time, chosen, searched, followed over rotations, exported."""

import http.server
import itertools
import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from netpod.api.meta import Key
from netpod.cluster import logexport, logfiles, logrecord, logs
from netpod.cluster.logs import Choice
from netpod.errors import NetpodError, UsageError
from netpod.kubelet import gonelogs
from netpod.paths import Paths
from netpod.shim import logs as shim

PATHS = Paths("logtest")


@pytest.fixture(autouse=True)
def _folder() -> Iterator[None]:
    """A cluster's folder in the run's private /run."""
    PATHS.run.mkdir(parents=True)
    yield
    for path in sorted(PATHS.run.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    PATHS.run.rmdir()


def _write(pod: str, *lines: str, namespace: str = "default", name: str = "0.log") -> Path:
    path = PATHS.pod_logs(namespace, pod, f"uid-{pod}") / "web" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        for line in lines:
            second, _, text = line.partition(" ")
            file.write(f"2026-01-01T00:00:{second}.000000000Z stdout F {text}\n")
    return path


def _component(role: str, *lines: str) -> None:
    PATHS.logs.mkdir(parents=True, exist_ok=True)
    with (PATHS.logs / f"{role}.log").open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def _texts(choice: Choice | None = None) -> list[str]:
    return [e.text.decode() for e in logs.read(PATHS, choice or Choice())]


def test_lines_of_all_pods_come_by_time() -> None:
    """Two files are merged, and a container's parts are read from the oldest."""
    _write("a", "01 one", name="0.log.1")
    _write("a", "05 five")
    _write("b", "03 three", "06 six")
    assert _texts() == ["one", "three", "five", "six"]


def test_logs_are_chosen_by_namespace_pod_node_and_text() -> None:
    """A choice that excludes a log never opens it."""
    _write("a", "01 alpha")
    _write("b", "02 beta", namespace="other")
    assert _texts(Choice(namespace="other")) == ["beta"]
    assert _texts(Choice(uids=frozenset({"uid-a"}))) == ["alpha"]
    assert _texts(Choice(node="n1", nodes={"uid-b": "n1"})) == ["beta"]
    assert _texts(Choice(pattern=re.compile(rb"^al.ha$"))) == ["alpha"]
    assert _texts(Choice(since=b"2026-01-01T00:00:02")) == ["beta"]


def test_a_pattern_is_about_the_text_and_not_its_head() -> None:
    """`stdout` and the year are in every line's head."""
    _write("a", "01 nothing of that kind")
    assert _texts(Choice(pattern=re.compile(rb"stdout|2026"))) == []


def test_components_are_told_apart_within_a_process() -> None:
    """A node process writes for kubelet and proxy; a traceback goes with the line before it."""
    _component(
        "node-worker",
        "2026-01-01T00:00:01.000 INFO netpod.kubelet.agent started",
        "2026-01-01T00:00:02.000 ERROR netpod.proxy.sync cannot sync",
        "Traceback (most recent call last):",
    )
    _component("controlplane", "2026-01-01T00:00:03.000 INFO netpod.apiserver.server serving")
    found = list(logs.read(PATHS, Choice(component="proxy")))
    assert [entry.level for entry in found[:1]] == ["ERROR"]
    assert found[0].text == b"ERROR netpod.proxy.sync cannot sync"
    assert len(_texts()) == 4
    assert [e.component for e in logs.read(PATHS, Choice(component="apiserver"))] == ["apiserver"]


def test_a_follower_loses_nothing_over_rotations(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shim sets files aside while they are read; every line comes once, in its order."""
    monkeypatch.setattr(shim, "ROTATE_AT", 4000)
    path = PATHS.pod_logs("default", "a", "uid-a") / "web" / "0.log"
    file = shim.File(path)
    written = itertools.count()

    def write(_: float) -> None:
        for _ in range(40):
            number = next(written)
            stamp = f"2026-01-01T00:00:00.{number:09d}Z"
            file.append(f"{stamp} stdout F line {number}\n".encode())

    write(0)
    monkeypatch.setattr(logs, "LOOK_SECONDS", 0.0)
    seen: list[bytes] = []
    for batch in logs.follow(PATHS, Choice(), pause=write):
        seen += [entry.text for entry in batch]
        if len(seen) >= 1000:
            break
    file.close()
    assert seen == [b"line %d" % number for number in range(len(seen))]
    assert len(list(path.parent.iterdir())) == shim.FILES


def test_lines_of_any_bytes_and_length_pass() -> None:
    """No newline at the end, bytes that are no UTF-8, a line of a megabyte."""
    path = _write("a", "01 first")
    with path.open("ab") as file:
        file.write(b"2026-01-01T00:00:02.000000000Z stdout F \xff\x00<script>\n")
        file.write(b"no entry at all\n\n")
        file.write(b"2026-01-01T00:00:03.000000000Z stdout F " + b"x" * (1 << 20))
    found = list(logs.read(PATHS, Choice()))
    assert [len(entry.text) for entry in found] == [5, 10, 1 << 20]
    assert logrecord.of_entry(found[1], {}, {})["text"] == "\ufffd\x00<script>"


def test_logs_of_a_deleted_pod_are_kept_to_a_bound() -> None:
    """Its last words can be read after it; the oldest go; a pod that said nothing leaves nothing."""
    for number in range(4):
        path = _write(f"p{number}", "01 last words")
        os.utime(path)
        gonelogs.keep(PATHS, Key("default", f"p{number}"), f"uid-p{number}")
    assert _texts() == ["last words"] * 4
    (PATHS.pod_logs("default", "mute", "u") / "web").mkdir(parents=True)
    gonelogs.keep(PATHS, Key("default", "mute"), "u")
    gonelogs.prune(PATHS, most_pods=2)
    assert sorted(e.source.pod for e in logs.read(PATHS, Choice())) == ["p2", "p3"]
    gonelogs.prune(PATHS, most_bytes=1)
    assert _texts() == []


def test_a_line_that_is_json_is_read_and_its_addresses_named() -> None:
    """An access line tells both connections of a request; the pods behind the addresses stand beside them."""
    _write("a", '01 {"client":"10.244.1.2:4000","destination":"10.244.2.3:8080","status":200}')
    (entry,) = logs.read(PATHS, Choice())
    record = logrecord.of_entry(entry, {"uid-a": "n1"}, {"10.244.2.3": "default/web"})
    assert record["record"]["status"] == 200
    assert record["names"] == {"10.244.2.3": "default/web"}
    assert record["node"] == "n1"


RECORD = {
    "time": "2026-01-01T00:00:01.500000000Z",
    "namespace": "d",
    "pod": 'p"]\\',
    "container": "c",
    "stream": "stdout",
    "text": "hello",
}


def test_syslog_is_rfc_5424() -> None:
    """Priority, version, time, host, application, and structured data with its three characters escaped."""
    said = logexport.syslog({**RECORD, "node": "n1", "level": "ERROR"}).decode()
    assert said == (
        '<131>1 2026-01-01T00:00:01.500000Z n1 c - - [netpod@32473 namespace="d" '
        'pod="p\\"\\]\\\\" container="c" stream="stdout"] hello'
    )


def test_syslog_receivers_get_every_line() -> None:
    """Datagrams one by one; over TCP with the count of octets before each."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        sink = logexport.open_sink(f"syslog://127.0.0.1:{receiver.getsockname()[1]}")
        logexport.send(sink, [RECORD, RECORD])
        sink.close()
        assert receiver.recv(9999) == receiver.recv(9999) == logexport.syslog(RECORD)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        sink = logexport.open_sink(f"syslog+tcp://127.0.0.1:{server.getsockname()[1]}")
        logexport.send(sink, [RECORD, RECORD])
        sink.close()
        connection, _ = server.accept()
        with connection:
            data = b"".join(iter(lambda: connection.recv(9999), b""))
    message = logexport.syslog(RECORD)
    assert data == (b"%d %s" % (len(message), message)) * 2


def test_an_otlp_receiver_that_refuses_gets_it_again() -> None:
    """503, then 200: one batch, sent twice, with time, severity and Kubernetes' attributes."""
    got: list[dict[str, object]] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(json.loads(body))
            self.send_response(503 if len(got) == 1 else 200)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            return

    server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        sink = logexport.open_sink(f"otlp://127.0.0.1:{server.server_address[1]}")
        logexport.send(sink, [RECORD])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert got[0] == got[1]
    (resource,) = got[1]["resourceLogs"]  # type: ignore[misc, attr-defined]
    (record,) = resource["scopeLogs"][0]["logRecords"]
    assert record["timeUnixNano"] == "1767225601500000000"
    assert {"key": "k8s.namespace.name", "value": {"stringValue": "d"}} in record["attributes"]


def test_a_file_gets_json_lines(tmp_path: Path) -> None:
    """One object a line, appended."""
    for _ in range(2):
        sink = logexport.open_sink(f"file://{tmp_path}/out.jsonl")
        logexport.send(sink, [RECORD])
        sink.close()
    assert [json.loads(s) for s in (tmp_path / "out.jsonl").read_text().splitlines()] == [
        RECORD
    ] * 2


@pytest.mark.parametrize("url", ["", "syslog://", "ftp://x:1", "otlp://h", "syslog://h:x"])
def test_a_receiver_that_is_none_is_refused(url: str) -> None:
    """The message says which forms there are, or what is wrong with this one."""
    with pytest.raises(UsageError, match="cannot export to"):
        logexport.open_sink(url)


def test_a_receiver_that_is_away_is_an_error_in_the_end() -> None:
    """Nobody listens on the port: it says so, after the tries it has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    sink = logexport.open_sink(f"syslog+tcp://127.0.0.1:{port}")
    with pytest.raises(NetpodError, match="Connection refused, 1 times"):
        logexport.send(sink, [RECORD], tries=1)


def test_blocks_are_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the piece's size, no line is cut."""
    path = tmp_path / "f"
    path.write_bytes(b"a\nbb\nccc\ndddd")
    for size in range(1, 15):
        monkeypatch.setattr(logfiles, "PIECE", size)
        found = list(logfiles.blocks(path))
        assert b"".join(found) == path.read_bytes()
        assert all(block.endswith(b"\n") for block in found[:-1])
