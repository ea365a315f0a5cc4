"""What becomes of requests for certificates: signed once approved, refused by the signer, taken away in the end."""

import asyncio
import base64
import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from netpod.api import certificates as api
from netpod.api import meta
from netpod.api.certificates import (
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
    CertificateSigningRequestSpec,
    CertificateSigningRequestStatus,
)
from netpod.api.meta import ObjectMeta
from netpod.apiserver import certify, pki
from netpod.client.rest import Client
from netpod.controllers import certificates
from netpod.controllers.run import ControllersConfig
from tests.unit.apiserver.requests import signing_request
from tests.unit.controllers import plane


def config(folder: Path) -> ControllersConfig:
    """Controllers with an authority."""
    authority = pki.Authority(folder / "pki", meta.now())
    return ControllersConfig(certify=lambda request: certify.sign(authority, request))


async def ask(client: Client, name: str, *usages: str, approve: bool = True) -> None:
    """Make a request, and approve it."""
    spec = CertificateSigningRequestSpec(
        request=signing_request(),
        signer_name="kubernetes.io/kube-apiserver-client",
        usages=usages,
    )
    made = await client.create(CertificateSigningRequest(metadata=ObjectMeta(name=name), spec=spec))
    if approve:
        said = CertificateSigningRequestCondition(type=api.APPROVED, status="True")
        status = CertificateSigningRequestStatus(conditions=(said,))
        await client.update(dataclasses.replace(made, status=status), subresource="approval")


async def status(client: Client, name: str) -> CertificateSigningRequestStatus:
    """What was said of a request."""
    return (await client.get(CertificateSigningRequest, name)).status


def test_what_was_approved_is_signed(tmp_path: Path) -> None:
    """And nothing else; what its signer does not sign has Failed, and why."""

    async def story() -> None:
        work = plane.all_controllers
        async with plane.api(tmp_path) as client:
            await ask(client, "good", "client auth")
            await ask(client, "bad", "server auth")
            await ask(client, "waits", "client auth", approve=False)
            async with plane.running(work(client, config(tmp_path))):

                async def settled() -> bool:
                    good, bad = await status(client, "good"), await status(client, "bad")
                    return bool(good.certificate) and len(bad.conditions) == 2

                await plane.until(settled, "one is signed, one has failed")
            signed = base64.b64decode((await status(client, "good")).certificate)
            assert x509.load_pem_x509_certificate(signed).subject.rfc4514_string() == "CN=jane"
            bad = await status(client, "bad")
            assert [it.type for it in bad.conditions] == ["Approved", "Failed"]
            assert "usages did not match" in bad.conditions[1].message
            assert not bad.certificate
            assert await status(client, "waits") == CertificateSigningRequestStatus()

    asyncio.run(story())


def test_settled_requests_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour after the last that was said of them; those nobody looked at stay for a day."""
    monkeypatch.setattr(certificates, "SETTLED", timedelta(seconds=-1))

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            await ask(client, "old", "client auth")
            await ask(client, "waits", "client auth", approve=False)
            async with plane.running(plane.all_controllers(client, config(tmp_path))):
                await plane.until(
                    lambda: plane.is_gone(client, CertificateSigningRequest, "old", ""),
                    "the settled request is gone",
                )
            assert not await plane.is_gone(client, CertificateSigningRequest, "waits", "")

    asyncio.run(story())
