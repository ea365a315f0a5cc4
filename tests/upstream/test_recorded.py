"""What is recorded in tests/unit/apiserver_recorded is what a real kube-apiserver of 1.20 over etcd answers.

With NETPOD_RECORD=1 its answers are written down anew; what the stories ask is edited by hand. Differences that are
meant stay in newer.jsonl, with their reasons.
"""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from netpod.linux import process
from tests.support import upstream
from tests.unit.apiserver_recorded import story
from tests.unit.apiserver_recorded.story import Teller

pytestmark = upstream.needed("kube-apiserver")
ADDRESS = "https://127.0.0.1:6443"
STORE = "http://127.0.0.1:2379"
START_SECONDS, END_SECONDS = 60.0, 10.0


@contextlib.contextmanager
def _process(log: Path, *argv: str) -> Iterator[None]:
    with log.open("wb") as file:
        pid = process.spawn(argv, stdout=file.fileno(), stderr=file.fileno())
    pidfd = process.pidfd_open(pid)
    try:
        yield
    finally:
        process.send_signal(pidfd, signal.SIGKILL)
        process.wait(pidfd, END_SECONDS)
        process.reap(pid)
        os.close(pidfd)


@contextlib.contextmanager
def _kube_apiserver(folder: Path) -> Iterator[None]:
    """A fresh one, with the users of the stories; nothing controls or schedules what it stores."""
    key = folder / "sa.key"
    process.run(["openssl", "genrsa", "-out", str(key), "2048"])
    users = folder / "tokens.csv"
    lines = [
        ",".join([token, name, str(uid), *groups])
        for uid, (token, (name, groups)) in enumerate(story.TOKENS.items(), 1)
    ]
    users.write_text("\n".join(lines))
    etcd = (
        "etcd",
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={STORE}",
        f"--advertise-client-urls={STORE}",
        "--listen-peer-urls=http://127.0.0.1:2380",
    )
    options = {
        "etcd-servers": STORE,
        "cert-dir": folder / "pki",
        "secure-port": 6443,
        "insecure-port": 0,
        "token-auth-file": users,
        "authorization-mode": "RBAC",
        "anonymous-auth": "false",
        "service-cluster-ip-range": "10.96.0.0/16",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-signing-key-file": key,
        "service-account-key-file": key,
        "advertise-address": "172.18.0.2",
        "allow-privileged": "true",
        "disable-admission-plugins": "ServiceAccount",
        "endpoint-reconciler-type": "none",
    }
    server = (
        str(upstream.BIN / "kube-apiserver"),
        *(f"--{name}={value}" for name, value in options.items()),
    )
    with _process(folder / "etcd.log", *etcd), _process(folder / "apiserver.log", *server):
        yield


@contextlib.asynccontextmanager
async def _told(folder: Path) -> AsyncIterator[Teller]:
    connector = aiohttp.TCPConnector(ssl=False)
    async with aiohttp.ClientSession(connector=connector) as session:
        with _kube_apiserver(folder):
            async with asyncio.timeout(START_SECONDS):
                while not await _is_ready(session):
                    await asyncio.sleep(0.2)
            yield Teller(session, ADDRESS)


async def _is_ready(session: aiohttp.ClientSession) -> bool:
    admin = {"Authorization": "Bearer admin"}
    try:
        for path in ("/readyz", "/api/v1/namespaces/default"):  # made a moment later
            async with session.get(ADDRESS + path, headers=admin) as answer:
                if answer.status != 200:
                    return False
        return True
    except aiohttp.ClientError:
        return False


def _placed(answer: story.Json) -> story.Json:
    """An answer with the place in the sources that a program of upstream's own builds names."""
    text = json.dumps(answer).replace('\\"pkg/api/', '\\"k8s.io/kubernetes/pkg/api/')
    return json.loads(text)


@pytest.mark.parametrize("name", story.stories())
def test_recorded_answers_are_a_real_servers(name: str, tmp_path: Path) -> None:
    """Every step of every story, in order, of a server that has seen nothing before."""

    async def body() -> list[story.Json]:
        async with _told(tmp_path) as teller:
            return [_placed(await teller.ask(step)) for step in story.load(name)]

    found = asyncio.run(body())
    if os.environ.get("NETPOD_RECORD"):
        lines = [json.dumps(it, sort_keys=True, ensure_ascii=False) + "\n" for it in found]
        (story.FOLDER / "answers" / f"{name}.jsonl").write_text("".join(lines))
    for (key, _), answer, recorded in zip(
        story.keyed(name), found, story.answers(name), strict=True
    ):
        assert answer == recorded, key
