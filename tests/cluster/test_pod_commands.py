"""run, attach, cp and logs of several pods, as their users type them."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import wait
from tests.support.cluster import Cluster

SAYS = "while :; do echo $WORD $HOSTNAME; sleep 0.1; done"


@pytest.fixture(scope="module")
def talkers(cluster: Cluster) -> Iterator[Cluster]:
    """Pods talk-a and talk-b, which say their names all the time."""
    for name in ("talk-a", "talk-b"):
        command = (
            "--image",
            "netpod.dev/host",
            "--command",
            "--env",
            "WORD=I am",
            "-l",
            "app=talk",
        )
        said = cluster.ok("run", name, *command, "--", "sh", "-c", SAYS)
        assert said.lines == [f"pod/{name} created"]
    wait.until(lambda: len(cluster.ready_pods("app=talk")) == 2, "both talk", 20)
    yield cluster
    cluster.ok("delete", "pod", "talk-a", "talk-b", "--grace-period=0", "--force")


def test_run_passes_input_on_and_ends_with_the_program(cluster: Cluster) -> None:
    """-i ends with our input, the exit code is the program's, --rm leaves nothing."""
    script = "cat; exit 4"
    options = ("--image", "netpod.dev/host", "--restart", "Never", "--command", "-i", "--rm")
    result = cluster.cli("run", "once", *options, "--", "sh", "-c", script, stdin="typed\n")
    assert (result.code, result.lines) == (4, ["typed", 'pod "once" deleted']), result


def test_logs_of_several_pods_are_followed_together(talkers: Cluster) -> None:
    """Each line whole, with its pod and container before it; a limit keeps it to five by default."""
    argv = ("logs", "-l", "app=talk", "--prefix", "--tail", "3")
    result = wait.until(lambda: len((r := talkers.cli(*argv)).lines) == 6 and r, "three of each")
    assert set(result.lines) == {f"[pod/{n}/{n}] I am {n}" for n in ("talk-a", "talk-b")}
    result = talkers.cli("logs", "-f", "-l", "app=talk", "--max-log-requests", "1")
    assert result.code == 2
    assert "you are attempting to follow 2 log streams" in result.stderr


def test_logs_are_followed_until_the_last_container_ends(cluster: Cluster) -> None:
    """Lines of both come as they are written; the command ends with them."""
    script = "for i in 1 2 3; do echo $i; sleep 0.5; done"
    for name in ("count-a", "count-b"):
        options = (
            "--image",
            "netpod.dev/host",
            "--restart",
            "Never",
            "--command",
            "-l",
            "app=count",
        )
        cluster.ok("run", name, *options, "--", "sh", "-c", script)
    try:
        wait.until(lambda: all(_has_run(pod) for pod in cluster.pods("app=count")), "both ran", 20)
        result = cluster.ok("logs", "-f", "--prefix", "-l", "app=count")
        wanted = [f"[pod/{n}/{n}] {i}" for n in ("count-a", "count-b") for i in (1, 2, 3)]
        assert sorted(result.lines) == wanted
    finally:
        cluster.ok("delete", "pod", "count-a", "count-b")


def _has_run(pod: Any) -> bool:
    states = [status["state"] for status in pod["status"].get("containerStatuses", ())]
    return any("waiting" not in state for state in states)


def test_files_go_there_and_back(talkers: Cluster, tmp_path: Path) -> None:
    """A directory into one that is there, under its own name; modes stay; what is not there is said."""
    source = tmp_path / "site"
    (source / "sub").mkdir(parents=True)
    (source / "page").write_text("hello\n")
    (source / "page").chmod(0o640)
    (source / "sub" / "data").write_bytes(os.urandom(300_000))
    talkers.ok("cp", str(source), "talk-a:/tmp")
    listed = talkers.ok("exec", "talk-a", "--", "cat", "/tmp/site/page").stdout
    assert listed == "hello\n"
    talkers.ok("cp", "default/talk-a:/tmp/site", str(tmp_path / "back"))
    assert (tmp_path / "back" / "sub" / "data").read_bytes() == (
        source / "sub" / "data"
    ).read_bytes()
    assert stat.S_IMODE((tmp_path / "back" / "page").stat().st_mode) == 0o640
    for argv, words in (
        (("talk-a:/nope", str(tmp_path / "x")), "No such file"),
        ((str(tmp_path / "nope"), "talk-a:/tmp"), "doesn't exist in local filesystem"),
        (("a", "b"), "one of source and destination"),
    ):
        result = talkers.cli("cp", *argv)
        assert result.code == 2
        assert words in result.stderr


def test_attach_shows_what_comes_and_refuses_what_is_not_there(talkers: Cluster) -> None:
    """A container without standard input says so; a name of no container too."""
    result = talkers.cli("attach", "talk-a", "-i")
    assert (result.code, "has no standard input" in result.stderr) == (2, True)
    result = talkers.cli("attach", "talk-a", "-c", "other")
    assert (result.code, "container other is not valid" in result.stderr) == (1, True)
