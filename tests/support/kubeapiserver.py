"""A real kube-apiserver 1.20, as vagrant/upstream.sh builds it, over an etcd of its own; both on 127.0.0.1."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from netpod.linux import process
from tests.support.upstream import BIN
from tests.unit.apiserver.support import Api

TOKEN = "secret"
READY_SECONDS = 120
END_SECONDS = 20.0
# What became of these features later is what netpod has.
FEATURES = (
    "IPv6DualStack", "BoundServiceAccountTokenVolume", "EphemeralContainers", "TTLAfterFinished",
    "ImmutableEphemeralVolumes", "SetHostnameAsFQDN", "EndpointSliceNodeName",
    "EndpointSliceTerminatingCondition", "ServiceLBNodePortControl", "MixedProtocolLBService", "DownwardAPIHugePages",
    "SizeMemoryBackedVolumes", "GenericEphemeralVolume", "HPAContainerMetrics", "HPAScaleToZero",
    "CSIStorageCapacity", "ProcMountType",
)  # fmt: skip
VERSIONS = {
    "CSIStorageCapacity": "storage.k8s.io/v1alpha1",
    "CronJob": "batch/v1beta1",
    "EndpointSlice": "discovery.k8s.io/v1beta1",
    "HorizontalPodAutoscaler": "autoscaling/v2beta2",
    "PodDisruptionBudget": "policy/v1beta1",
}
"""Kinds that it has in another version than netpod."""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@contextlib.contextmanager
def _process(argv: Sequence[str], log: Path) -> Iterator[None]:
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        pid = process.spawn(list(argv), stdout=fd, stderr=fd)
    finally:
        os.close(fd)
    pidfd = os.pidfd_open(pid)
    try:
        yield
    finally:
        process.send_signal(pidfd, signal.SIGTERM)
        if not process.wait(pidfd, END_SECONDS):
            process.send_signal(pidfd, signal.SIGKILL)
            process.wait(pidfd, END_SECONDS)
        os.close(pidfd)


@contextlib.contextmanager
def etcd(folder: Path) -> Iterator[str]:
    """An etcd in a folder; gives its URL."""
    url, peers = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
    argv = ["etcd", f"--data-dir={folder}/etcd", "--unsafe-no-fsync", "--log-level=error"]
    argv += [f"--listen-client-urls={url}", f"--advertise-client-urls={url}"]
    argv += [f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}"]
    argv += [f"--initial-cluster=default={peers}"]
    with _process(argv, folder / "etcd.log"):
        yield url


@contextlib.asynccontextmanager
async def serving(folder: Path, store: str, services: str) -> AsyncIterator[Api]:
    """A kube-apiserver whose Services are of these networks, and a client of it that may do everything.

    Raises:
        TimeoutError: it did not become ready; the end of its log is in the message.
    """
    folder.mkdir()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    (folder / "sa.key").write_bytes(pem)
    (folder / "tokens.csv").write_text(f'{TOKEN},admin,1,"system:masters"\n')
    port = _free_port()
    argv = [
        str(BIN / "kube-apiserver"),
        f"--etcd-servers={store}",
        f"--etcd-prefix=/{folder.name}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=172.18.0.2",
        f"--cert-dir={folder}",
        f"--token-auth-file={folder}/tokens.csv",
        f"--service-cluster-ip-range={services}",
        f"--feature-gates={','.join(f'{name}=true' for name in FEATURES)}",
        "--runtime-config=api/all=true",
        f"--service-account-key-file={folder}/sa.key",
        f"--service-account-signing-key-file={folder}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=RBAC",
        "--allow-privileged=true",
        "--endpoint-reconciler-type=none",
    ]
    log = folder / "kube-apiserver.log"
    connector = aiohttp.TCPConnector(ssl=False)
    who = {"Authorization": f"Bearer {TOKEN}"}
    with _process(argv, log):
        async with aiohttp.ClientSession(connector=connector, headers=who) as session:
            api = Api(session, None, f"https://127.0.0.1:{port}")  # type: ignore[arg-type]
            try:
                async with asyncio.timeout(READY_SECONDS):
                    while not await _ready(api):
                        await asyncio.sleep(0.2)
            except TimeoutError:
                raise TimeoutError(log.read_text()[-2000:]) from None
            yield api


async def _ready(api: Api) -> bool:
    try:
        code, _ = await api("GET", "/readyz")
    except aiohttp.ClientError:
        return False
    return code == 200
