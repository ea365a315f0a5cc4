"""Frames between kubelet and shim, and what the shim remembers."""

import os
from pathlib import Path
from typing import Any

import pytest

from netpod.api import cri
from netpod.api.cri import Sandbox, SandboxConfig
from netpod.shim import pidfile, records


def test_frames_survive_any_cut() -> None:
    """However the bytes arrive, the same messages come out."""
    messages: list[dict[str, Any]] = [{"op": "list", "id": 1}, {}, {"text": "é" * 1000}]
    data = b"".join(cri.pack(message) for message in messages)
    for size in (1, 3, 7, len(data)):
        buffer = bytearray()
        found = []
        for start in range(0, len(data), size):
            buffer += data[start : start + size]
            found += cri.unpack(buffer)
        assert found == messages
        assert not buffer


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"\xff\xff\xff\xff", "frame of"),
        (b"\0\0\0\1x", "unexpected character"),
        (b"\0\0\0\2[]", "not an object"),
    ],
)
def test_a_broken_frame_is_refused(data: bytes, cause: str) -> None:
    """Too long, no JSON, no object."""
    with pytest.raises(ValueError, match=cause):
        cri.unpack(bytearray(data))


def test_structs_come_back(tmp_path: Path) -> None:
    """What is written is read; what is absent or half-written is None."""
    sandbox = Sandbox(config=SandboxConfig(id="a", netns="n", host_network=True), pid=7)
    records.write_struct(tmp_path / "config.json", sandbox)
    assert records.read_struct(tmp_path / "config.json", Sandbox) == sandbox
    (tmp_path / "half.json").write_text('{"config": {')
    assert records.read_struct(tmp_path / "half.json", Sandbox) is None
    assert records.read_struct(tmp_path / "none.json", Sandbox) is None
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["config.json", "half.json"]


def test_a_process_is_known_by_number_and_start_time(tmp_path: Path) -> None:
    """A later process of the same number is somebody else."""
    known = pidfile.write(tmp_path, os.getpid())
    assert pidfile.read(tmp_path) == known
    pidfd = pidfile.open_pidfd(known)
    assert pidfd is not None
    os.close(pidfd)
    assert pidfile.open_pidfd(pidfile.Process(known.pid, known.started + 1)) is None
    (tmp_path / "pid").write_text("1")
    assert pidfile.read(tmp_path) is None
