"""What a container writes becomes lines in CRI format."""

import os
import re
from pathlib import Path

import pytest

from netpod.shim import logs

LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z stdout ([FP]) (.*)")


class Piped:
    """A FIFO, both its ends, and the log file behind it."""

    def __init__(self, folder: Path) -> None:
        reader, self.writer = logs.make_fifo(folder / "fifo")
        self.path = folder / "c" / "0.log"
        self.log = logs.Log(reader, logs.File(self.path))

    def lines(self) -> list[tuple[bytes, bytes]]:
        """Tag and text of every line of the file."""
        found = []
        for line in self.path.read_bytes().splitlines():
            match = LINE.fullmatch(line)
            assert match, line
            found.append((match[1], match[2]))
        return found


@pytest.fixture
def piped(tmp_path: Path) -> Piped:
    """An empty log."""
    return Piped(tmp_path)


def test_lines_are_written_whole(piped: Piped) -> None:
    """A line is held back until its end arrives."""
    os.write(piped.writer, b"one\ntw")
    assert piped.log.pump()
    assert piped.lines() == [(b"F", b"one")]
    os.write(piped.writer, b"o\n\n")
    assert piped.log.pump()
    assert piped.lines() == [(b"F", b"one"), (b"F", b"two"), (b"F", b"")]


def test_the_last_line_needs_no_end(piped: Piped) -> None:
    """What a container wrote before it died is kept, and marked as a part: it had no end."""
    os.write(piped.writer, b"panic")
    os.close(piped.writer)
    piped.log.finish()
    assert piped.lines() == [(b"P", b"panic")]
    assert logs.tail(piped.path) == "panic"


def test_long_lines_come_in_parts(piped: Piped) -> None:
    """Longer than 16 KiB is several P and one F."""
    os.write(piped.writer, b"x" * 40000 + b"\n")
    assert piped.log.pump()
    assert [(tag, len(text)) for tag, text in piped.lines()] == [
        (b"P", 16384),
        (b"P", 16384),
        (b"F", 40000 - 2 * 16384),
    ]


def test_the_end_of_all_writers_is_seen(piped: Piped) -> None:
    """Then there is nothing more to wait for."""
    os.close(piped.writer)
    assert not piped.log.pump()


def test_a_big_file_is_set_aside(piped: Piped, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log cannot fill the machine's memory."""
    monkeypatch.setattr(logs, "ROTATE_AT", 100)
    for number in range(5):
        os.write(piped.writer, b"%d" % number * 60 + b"\n")
        piped.log.pump()
    assert piped.path.with_name("0.log.1").exists()
    assert not piped.path.exists() or piped.path.stat().st_size < 200


def test_a_second_reader_finds_what_waits(tmp_path: Path) -> None:
    """What is written while nobody reads stays in the FIFO as long as the container has it open."""
    reader, writer = logs.make_fifo(tmp_path / "fifo")
    os.close(reader)
    os.write(writer, b"alone\n")
    again = logs.open_reader(tmp_path / "fifo")
    assert again is not None
    log = logs.Log(again, logs.File(tmp_path / "0.log"))
    assert log.pump()
    assert (tmp_path / "0.log").read_bytes().endswith(b"stdout F alone\n")
