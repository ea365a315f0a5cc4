"""All logs in one place, while they are written."""

import os
from pathlib import Path

import orjson

from netpod.linux import process
from tests.support import wait
from tests.support.cluster import NETPOD, Cluster


def test_all_logs_are_followed_in_one_place(cluster: Cluster, tmp_path: Path) -> None:
    """A line that a container writes while somebody follows everything comes with its pod's and container's name."""
    name = "talker"
    log = tmp_path / "log"
    argv = [
        *NETPOD,
        "--cluster",
        cluster.name,
        "logs",
        "--all",
        "-f",
        "-o",
        "json",
        "--grep",
        "hello",
    ]
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        pid = process.spawn(argv, stdout=fd, stderr=fd)
    finally:
        os.close(fd)
    pidfd = os.pidfd_open(pid)
    try:
        command = "while :; do echo '<script>hello</script>'; printf 'hello \\377\\033[2J\\n'; sleep 0.5; done"
        cluster.ok(
            "run",
            name,
            "--image",
            "netpod.dev/host",
            "--restart",
            "Never",
            "--",
            "sh",
            "-c",
            command,
        )
        wait.until(lambda: log.read_bytes().count(b"\n") >= 4, "lines are seen", 30)
        seen = [orjson.loads(line) for line in log.read_bytes().splitlines()[:4]]
    finally:
        process.send_signal(pidfd, 9)
        os.close(pidfd)
        os.waitpid(pid, 0)
        cluster.cli("delete", "pod", name, "--grace-period", "0", "--wait")
    assert {(line["namespace"], line["pod"], line["container"]) for line in seen} == {
        ("default", name, name)
    }
    assert seen[0]["text"] == "<script>hello</script>"
