"""A day of kubectl: a recorded session of what people type, with what a Kubernetes cluster would print.

tests/cluster/session/session.txt is the session; tests/support/session.py says how to read it.
"""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.support import cluster as clusters
from tests.support import kubectl, session, wait
from tests.support.cluster import Cluster, Result
from tests.support.session import Step

HERE = Path(__file__).parent / "session"
# Debian's of two generations; or the one that is named.
PLACES = ("/opt/netpod/kubectl/usr/bin/kubectl", "/opt/netpod/kubectl-current/usr/bin/kubectl")
NAMED = os.environ.get("NETPOD_KUBECTL", "")
KUBECTLS = [NAMED] if NAMED else [place for place in PLACES if os.access(place, os.X_OK)]
MANY = 120
PATIENCE = 30.0
NOISE = re.compile(r"^E\d{4} .*\] Unknown stream id \d+, discarding message\n", re.MULTILINE)
"""What client-go up to 1.32 says when the server's first frame, an empty one, is there before it is ready to read."""

pytestmark = pytest.mark.skipif(
    not KUBECTLS, reason="no kubectl here; vagrant/provision.sh --test unpacks Debian's"
)


@pytest.fixture(scope="module", params=KUBECTLS)
def program(request: pytest.FixtureRequest) -> str:
    """A kubectl."""
    return str(request.param)


@pytest.fixture(scope="module")
def audited(program: str) -> Iterator[Cluster]:
    """A cluster of its own, whose nodes the session may take out of service, with an audit log."""
    with clusters.running(
        "session", "--no-publish", "--audit-log", example=False, session="netpod"
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def env(audited: Cluster, program: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Home, kubeconfig and editor of whoever sits at the prompt."""
    home = tmp_path_factory.mktemp("home")
    config = home / "kubeconfig"
    config.write_bytes(audited.paths.kubeconfig.read_bytes())
    config.chmod(0o600)
    editor = home / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/port: 8000$/port: 80/' \"$1\"\n")
    editor.chmod(0o755)
    return {
        "HOME": str(home),
        "KUBECONFIG": str(config),
        "KUBE_EDITOR": str(editor),
        "K": program,
        "T": str(home),
    }


def run(step: Step, env: dict[str, str]) -> Result:
    """Type one command, in the folder of the manifests."""
    script = step.text if step.shell else '"$K" "$@"'
    return clusters.call(
        "sh", "-c", f"cd {HERE} && {script}", "sh", *step.argv, env=env, timeout=90
    )


def fails(step: Step, env: dict[str, str]) -> str:
    """What is wrong with what a command printed, "" when nothing is."""
    result = run(step, env)
    printed = result.stdout + NOISE.sub("", result.stderr)
    if result.code == step.code and session.matches(step.expected, printed):
        return ""
    return (
        f"line {step.line}: {step.text}\n  exit code {result.code}, expected {step.code}\n"
        f"{result.stdout}{result.stderr}"
    )


def test_a_day_of_kubectl(audited: Cluster, env: dict[str, str]) -> None:
    """Every command prints what it prints on Kubernetes, and no request was answered by an error of ours."""
    steps = list(session.read((HERE / "session.txt").read_text()))
    assert len(steps) >= MANY
    version = kubectl.version(env["K"])
    wrong = []
    for step in filter(None, (each.of(version) for each in steps)):
        deadline = time.monotonic() + (PATIENCE if step.patient else 0)
        while (said := fails(step, env)) and time.monotonic() < deadline:
            wait.pause()
        if said:
            wrong.append(said)
    assert not wrong, "\n".join(wrong)
    log = audited.paths.logs / "audit.log"
    events = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    assert len(events) > len(steps)
    bad = [e for e in events if e["responseStatus"]["code"] == 500]
    assert not bad, bad[:3]
