"""Container logs as clients get them."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpod import errors, paths
from netpod.api import codec
from netpod.api.pod import Pod
from netpod.kubelet import keptlogs, podlogs
from netpod.kubelet.podlogs import LogOptions

START = datetime(2026, 1, 1, tzinfo=UTC)


def _line(second: int, text: str, tag: str = "F") -> bytes:
    stamp = (START + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.000000000Z")
    return f"{stamp} stdout {tag} {text}\n".encode()


def _read(path: Path, options: LogOptions, running: Callable[[], bool] = lambda: False) -> bytes:
    async def collect() -> bytes:
        async with asyncio.timeout(5):
            return b"".join([part async for part in podlogs.stream(path, options, running)])

    return asyncio.run(collect())


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Three lines, one of them cut in two by its writer."""
    path = tmp_path / "0.log"
    path.write_bytes(
        _line(0, "one") + _line(1, "tw", "P") + _line(1, "o") + _line(2, "a b  c") + _line(3, "")
    )
    return path


def test_lines_come_as_they_were_written(log: Path) -> None:
    """A line that goes on in the next entry is one line again, spaces and empty lines are kept."""
    assert _read(log, LogOptions()) == b"one\ntwo\na b  c\n\n"


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    """A container that has written nothing has no file yet."""
    assert _read(tmp_path / "0.log", LogOptions()) == b""


def test_options_narrow_a_log(log: Path) -> None:
    """tailLines counts entries from the end, sinceTime is inclusive, limitBytes cuts anywhere."""
    assert _read(log, LogOptions(tail=2)) == b"a b  c\n\n"
    assert _read(log, LogOptions(tail=0)) == b""
    assert _read(log, LogOptions(tail=99)) == b"one\ntwo\na b  c\n\n"
    assert _read(log, LogOptions(since=START + timedelta(seconds=2))) == b"a b  c\n\n"
    assert _read(log, LogOptions(limit=6)) == b"one\ntw"
    assert _read(log, LogOptions(tail=2, timestamps=True)) == (
        b"2026-01-01T00:00:02.000000000Z a b  c\n2026-01-01T00:00:03.000000000Z \n"
    )


def test_following_ends_with_the_container(log: Path) -> None:
    """What is written before the end is delivered, also into the file that took the first one's place."""
    steps = iter(
        [
            lambda: None,
            lambda: log.write_bytes(log.read_bytes() + _line(4, "more")),
            lambda: (log.rename(log.with_suffix(".log.1")), log.write_bytes(_line(5, "anew"))),
            lambda: None,
        ]
    )

    def running() -> bool:
        step = next(steps, None)
        if step is not None:
            step()
        return step is not None

    assert _read(log, LogOptions(tail=1, follow=True), running) == b"\nmore\nanew\n"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text("ab ", max_size=40000), max_size=8), st.integers(0, 10))
def test_tail_is_the_end_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], count: int
) -> None:
    """However long the lines are, tailLines gives the last of them."""
    path = tmp_path_factory.mktemp("log") / "0.log"
    path.write_bytes(b"".join(_line(0, text) for text in lines))
    wanted = lines[max(0, len(lines) - count) :] if count else []
    assert _read(path, LogOptions(tail=count)) == "".join(f"{text}\n" for text in wanted).encode()


def test_a_container_that_is_being_started_has_no_log_yet(tmp_path: Path) -> None:
    """Its file may be there a moment before it runs: who follows it then would be told that the log has ended."""

    class Here(paths.Paths):
        run = tmp_path  # type: ignore[assignment]

    places = Here("c")
    log = places.pod_logs("ns", "p", "u") / "c" / "0.log"
    log.parent.mkdir(parents=True)
    log.touch()

    def pod(**state: object) -> Pod:
        status = {"name": "c", "state": state, "restartCount": 0, "image": "", "imageID": ""}
        metadata = {"namespace": "ns", "name": "p", "uid": "u"}
        data = {"metadata": metadata, "status": {"containerStatuses": [status] if state else []}}
        return codec.decode(Pod, data)

    ended = pod(terminated={"exitCode": 0})
    for waits in (None, pod(), pod(waiting={"reason": "ContainerCreating"})):
        with pytest.raises(errors.BadRequest, match="is waiting to start: ContainerCreating"):
            keptlogs.find(places, waits, "c", "p")
    assert keptlogs.find(places, ended, "c", "p") == log
    assert keptlogs.find(places, pod(running={}), "c", "p") == log
    log.unlink()
    with pytest.raises(errors.BadRequest, match='container "c" in pod "p" is terminated'):
        keptlogs.find(places, ended, "c", "p")
