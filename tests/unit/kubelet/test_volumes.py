"""Volumes as directories: what they hold changes at one moment, and nothing leads out of them."""

import os
from pathlib import Path

import pytest

from netpod.kubelet import volumes
from netpod.kubelet.refusal import CannotStart
from netpod.kubelet.volumes import File, Volumes


def test_files_change_all_at_once(tmp_path: Path) -> None:
    """Every name goes through one link, which is replaced."""
    place = tmp_path / "v"
    assert volumes.write(place, {"a": File(b"1", 0o644), "b/c": File(b"1", 0o400)})
    before = os.readlink(place / "..data")
    assert (place / "a").read_text() == (place / "b" / "c").read_text() == "1"
    assert (place / "b" / "c").stat().st_mode & 0o777 == 0o400
    assert volumes.write(place, {"a": File(b"2", 0o644)})
    assert os.readlink(place / "..data") != before
    assert sorted(it.name for it in place.iterdir() if not it.name.startswith("..")) == ["a"]
    assert (place / "a").read_text() == "2"
    assert len(list(place.iterdir())) == 3


def test_the_same_files_are_left_alone(tmp_path: Path) -> None:
    """Nothing changes for those who watch them."""
    place = tmp_path / "v"
    volumes.write(place, {"a": File(b"1", 0o644)})
    before = os.readlink(place / "..data")
    assert not volumes.write(place, {"a": File(b"1", 0o644)})
    assert os.readlink(place / "..data") == before


def test_a_sub_path_stays_inside(tmp_path: Path) -> None:
    """Neither dots nor a link that a container made lead to another file of the machine."""
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "out").symlink_to("/etc")
    found = Volumes(paths={"v": tmp_path / "v"})
    assert found.path("v", "new/dir").is_dir()
    for below in ("../x", "/etc", "out", "out/passwd"):
        with pytest.raises(CannotStart):
            found.path("v", below)
    with pytest.raises(CannotStart, match='volume "w" not found'):
        found.path("w")


def test_host_paths_need_permission(tmp_path: Path) -> None:
    """Only below allowed directories, also through links."""
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "link").symlink_to("/etc")
    assert volumes.host_path({"path": str(allowed)}, (allowed,)) == allowed
    made = {"path": str(allowed / "new"), "type": "DirectoryOrCreate"}
    assert volumes.host_path(made, (allowed,)).is_dir()
    for path in ("/etc", str(allowed / "link"), str(allowed / ".." / "x")):
        with pytest.raises(CannotStart, match="not below a directory"):
            volumes.host_path({"path": path}, (allowed,))
    with pytest.raises(CannotStart, match="is not a file"):
        volumes.host_path({"path": str(allowed), "type": "File"}, (allowed,))
