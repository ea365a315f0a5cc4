"""Certificates: signs the requests that somebody approved, and takes away those that nobody needs any more.

    kubernetes.io/kube-apiserver-client             a user of the API server
    kubernetes.io/kube-apiserver-client-kubelet     a node, as a user of it
    kubernetes.io/kubelet-serving                   a node's own server
    kubernetes.io/legacy-unknown                    anything; the API server need not believe it

Other signers' requests wait for these. Nothing is approved by itself: nodes have their certificates from elsewhere.

Source: kubernetes pkg/controller/certificates/{signer,cleaner}.
"""

import asyncio
import base64
import dataclasses
import logging
from collections.abc import Callable
from datetime import timedelta

from netpod.api import certificates, meta
from netpod.api.certificates import (
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
)
from netpod.api.meta import Key
from netpod.controllers.controller import Context, Controller
from netpod.errors import Conflict, NetpodError, NotFound

log = logging.getLogger(__name__)

SIGNERS = frozenset(
    f"kubernetes.io/{name}"
    for name in (
        "kube-apiserver-client",
        "kube-apiserver-client-kubelet",
        "kubelet-serving",
        "legacy-unknown",
    )
)
SETTLED, PENDING = timedelta(hours=1), timedelta(hours=24)
"""How long a request stays that was approved or denied, and one of which nobody said anything."""
LOOK_SECONDS = 600.0

Sign = Callable[[CertificateSigningRequest], bytes]
"""Makes certificates, PEM, of a request; raises NetpodError for one that its signer does not sign."""


class CertificatesController:
    """Signs and cleans up. Keys are requests.

    Args:
        context: Of the process.
        sign: What signs; None signs nothing.
    """

    def __init__(self, context: Context, sign: Sign | None) -> None:
        self._context = context
        self._sign = sign
        self._requests = context.view(CertificateSigningRequest)
        self._loop: Controller[Key] = context.loop(
            "certificatesigningrequest", self.reconcile, after=[self._requests]
        )
        self._requests.subscribe(self._changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run_with_tick(LOOK_SECONDS, self._again)

    def _again(self) -> None:
        for request in self._requests.values():
            self._loop.enqueue(meta.key_of(request))

    def _changed(
        self, old: CertificateSigningRequest | None, new: CertificateSigningRequest | None
    ) -> None:
        if new is not None:
            self._loop.enqueue(meta.key_of(new))

    async def reconcile(self, key: Key) -> None:
        """Sign one request, or delete it when its time is over."""
        request = self._requests.get(key)
        if request is None or request.metadata.deletion_timestamp:
            return
        try:
            if self._over(request):
                about = request.metadata
                await self._context.client.delete(
                    CertificateSigningRequest, about.name, uid=about.uid
                )
            elif self._sign is not None and _waits(request):
                status = await asyncio.to_thread(self._signed, self._sign, request)
                new = dataclasses.replace(request, status=status)
                written = await self._context.client.update(new, subresource="status")
                self._requests.wrote(written)
        except (NotFound, Conflict) as error:
            log.debug("certificate request %s: %s", key.name, error)
            self._loop.enqueue_after(key, 0.1)

    def _signed(
        self, sign: Sign, request: CertificateSigningRequest
    ) -> certificates.CertificateSigningRequestStatus:
        try:
            made = base64.b64encode(sign(request)).decode()
            return dataclasses.replace(request.status, certificate=made)
        except NetpodError as error:
            failed = CertificateSigningRequestCondition(
                type=certificates.FAILED,
                status="True",
                reason="SignerValidationFailure",
                message=str(error),
            )
            said = (*request.status.conditions, failed)
            return dataclasses.replace(request.status, conditions=said)

    def _over(self, request: CertificateSigningRequest) -> bool:
        since = [
            it.last_update_time for it in request.status.conditions if it.last_update_time
        ] or [request.metadata.creation_timestamp]
        limit = SETTLED if request.status.conditions else PENDING
        return bool(self._context.clock() - meta.parse_timestamp(max(since)) > limit)


def _waits(request: CertificateSigningRequest) -> bool:
    """Whether a request was approved, is for one of these signers, and has no answer yet."""
    said = (certificates.DENIED, certificates.FAILED)
    return (
        certificates.has(request, certificates.APPROVED)
        and not any(certificates.has(request, it) for it in said)
        and request.spec.signer_name in SIGNERS
        and not request.status.certificate
    )
