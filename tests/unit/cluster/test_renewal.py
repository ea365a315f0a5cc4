"""Certificates near their end are renewed under running servers and clients, without ending a connection."""

import asyncio
import dataclasses
import shutil
import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from netpod.api import meta
from netpod.apiserver import pki
from netpod.client import kubeconfig
from netpod.cluster import keys, renewal
from netpod.cluster.config import ClusterConfig

OLD = timedelta(days=340)
NAME = "renewal"


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> ClusterConfig:
    """A cluster whose certificates were made almost a year ago."""
    found = dataclasses.replace(ClusterConfig(name=NAME), api_port=6443)
    for folder in (found.paths.state, found.paths.run):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    found.save()
    past = meta.now() - OLD
    with monkeypatch.context() as patch:
        patch.setattr(meta, "now", lambda: past)
        keys.ensure(found)
    return found


def end_of(certificate: bytes | None) -> float:
    """When a certificate ends, in seconds of the epoch."""
    from cryptography import x509

    assert certificate is not None
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()


def test_only_what_is_near_its_end_is_due(config: ClusterConfig) -> None:
    """Nobody gets new certificates who does not need them; the authority lives longer."""
    folder = config.paths.pki
    assert set(pki.due(folder, meta.now())) >= {"admin", "apiserver", "kubelet-worker"}
    assert "ca" not in pki.due(folder, meta.now())
    assert pki.due(folder, meta.now() - OLD) == []
    renewal.main(NAME)
    assert pki.due(folder, meta.now()) == []
    before = {path: path.read_bytes() for path in folder.iterdir()}
    renewal.main(NAME)
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


def test_a_running_server_shows_the_new_one(config: ClusterConfig) -> None:
    """Connections go on over a renewal; who connects after it sees the new certificate, on both sides."""

    async def story() -> None:
        contexts = renewal.Contexts(config.paths.pki)
        server_side = contexts.keep(keys.server_context(config), keys.API_SERVER)
        endpoint = kubeconfig.load(config.paths.kubeconfig)
        assert endpoint.tls is not None
        shown: list[float] = []
        serving: list[asyncio.Task[None] | None] = []

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            serving.append(asyncio.current_task())
            peer: ssl.SSLObject = writer.get_extra_info("ssl_object")
            shown.append(end_of(peer.getpeercert(binary_form=True)))
            while data := await reader.readline():
                writer.write(data)
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_side)
        port = server.sockets[0].getsockname()[1]

        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter, float]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=endpoint.tls)
            seen: ssl.SSLObject = writer.get_extra_info("ssl_object")
            writer.write(b"hello\n")
            assert await reader.readline() == b"hello\n"
            return reader, writer, end_of(seen.getpeercert(binary_form=True))

        reader, writer, first = await connect()
        await renewal.renew(config)
        contexts.refresh()
        kubeconfig.renew(endpoint, config.paths.kubeconfig)
        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        _, other, second = await connect()
        year = timedelta(days=300).total_seconds()
        assert second - first > year
        assert shown[1] - shown[0] > year
        for each in (writer, other):
            each.close()
            await each.wait_closed()
        await asyncio.gather(*filter(None, serving))
        server.close()
        await server.wait_closed()

    asyncio.run(story())


def test_half_a_pair_is_not_taken(config: ClusterConfig, tmp_path: Path) -> None:
    """Between the writing of key and certificate the old pair goes on; the next look finds both."""
    folder = config.paths.pki
    contexts = renewal.Contexts(folder)
    contexts.keep(keys.server_context(config), keys.API_SERVER)
    old = {kind: (folder / f"apiserver.{kind}").read_bytes() for kind in ("crt", "key")}
    renewal.main(NAME)
    new = (folder / "apiserver.crt").read_bytes()
    (folder / "apiserver.crt").write_bytes(old["crt"])
    contexts.refresh()
    (folder / "apiserver.crt").write_bytes(new)
    contexts.refresh()
