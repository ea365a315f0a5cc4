"""CertificateSigningRequests: who asked is written into them, and only who may approve or sign does.

    spec        as it was created; username, uid, groups and extra are the writer's
    approval    conditions only; Approved and Denied stand nowhere else
    status      the signer's: certificate, and condition Failed

Source: pkg/registry/certificates/certificates/strategy.go; plugin/pkg/admission/certificates.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, cast

from netpod import errors
from netpod.api import meta, structs, validation
from netpod.api.meta import Object
from netpod.api.registry import Resource
from netpod.apiserver import objects, status, storage
from netpod.apiserver.authentication import MASTERS, User
from netpod.apiserver.authorization import Attributes
from netpod.apiserver.calls import Call
from netpod.apiserver.storage import Storage

if TYPE_CHECKING:
    from netpod.api.certificates import (
        CertificateSigningRequest,
        CertificateSigningRequestCondition,
    )

KIND, GROUP = "CertificateSigningRequest", "certificates.k8s.io"
CLIENT = "kubernetes.io/kube-apiserver-client"
_APPROVAL = ("Approved", "Denied")
_VERBS = {"approval": "approve", "status": "sign"}


def requested(resource: Resource, obj: Object, user: User) -> Object:
    """A new request, by a user.

    Raises:
        Invalid: it is no request for a certificate.
        Forbidden: it is for a certificate of system:masters.
    """
    asked = cast("CertificateSigningRequest", obj)
    _check(resource, asked)
    spec = structs.replace(
        asked.spec,
        username=user.name,
        uid=user.uid,
        groups=tuple(sorted(user.groups)),
        extra=dict(user.extra),
    )
    return structs.replace(asked, spec=spec)


def _check(resource: Resource, asked: "CertificateSigningRequest") -> None:
    if not asked.spec.request:
        return  # what is missing is said with all else that is
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        found = x509.load_pem_x509_csr(base64.b64decode(asked.spec.request, validate=True))
        if not found.is_signature_valid:
            raise ValueError("its signature is not its own key's")
    except (ValueError, binascii.Error) as error:
        shown = "PEM block type must be CERTIFICATE REQUEST" if "PEM" in str(error) else str(error)
        wrong = errors.FieldError(
            field="spec.request",
            reason="FieldValueInvalid",
            message=f"Invalid value: {shown}",
        )
        name = asked.metadata.name
        raise status.invalid(resource.kind, GROUP, name, [wrong]) from error
    names = found.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if asked.spec.signer_name == CLIENT and MASTERS in [it.value for it in names]:
        cause = f"use of {CLIENT} signer with {MASTERS} group is not allowed"
        raise storage.forbidden(resource, asked.metadata.name, cause)


def merged(new: Object, old: Object, subresource: str, now: datetime) -> Object:
    """What a write changes of a request: nothing but labels and such, or what is the subresource's.

    Raises:
        Invalid: it takes back what was said, or says both Approved and Denied.
    """
    wanted = cast("CertificateSigningRequest", new)
    before = cast("CertificateSigningRequest", old)
    if not subresource:
        return structs.replace(wanted, spec=before.spec, status=before.status)
    state = wanted.status
    if subresource == "approval":
        state = structs.replace(before.status, conditions=state.conditions)
    conditions = tuple(_dated(it, before, now) for it in state.conditions)
    if subresource == "status":
        # Whoever signs says nothing about approval; what he read of it may be old.
        kept = [it for it in before.status.conditions if it.type in _APPROVAL]
        conditions = (*kept, *(it for it in conditions if it.type not in _APPROVAL))
    noted = wanted.metadata
    about = structs.replace(
        before.metadata,
        labels=noted.labels,
        annotations=noted.annotations,
        managed_fields=noted.managed_fields,
    )
    state = structs.replace(state, conditions=conditions)
    made = structs.replace(before, metadata=about, status=state)
    wrong = validation.validate_update(made, before)
    if wrong:
        raise status.invalid(KIND, GROUP, before.metadata.name, wrong)
    return made


def _dated(
    condition: "CertificateSigningRequestCondition",
    old: "CertificateSigningRequest",
    now: datetime,
) -> "CertificateSigningRequestCondition":
    same = [it for it in old.status.conditions if it.type == condition.type]
    moment = meta.timestamp(now)
    kept = same[0].last_transition_time if same and same[0].status == condition.status else None
    return structs.replace(
        condition,
        last_update_time=condition.last_update_time or moment,
        last_transition_time=condition.last_transition_time or kept or moment,
    )


async def permit(
    allowed: Callable[[User, Attributes], Awaitable[bool]], store: Storage, call: Call
) -> None:
    """Let only those approve and sign who may for the request's signer.

    Raises:
        Forbidden: the user may not.
        NotFound: there is no such request.
    """
    route, user = call.route, call.user
    verb = _VERBS.get(route.subresource, "")
    if not verb or MASTERS in user.groups:
        return
    kv = await store.get(route.resource, "", route.name)
    signer = str(objects.parsed(kv)["spec"].get("signerName", ""))
    for name in (signer, f"{signer.partition('/')[0]}/*"):
        wanted = Attributes(verb=verb, group=GROUP, resource="signers", name=name)
        if await allowed(user, wanted):
            return
    cause = f'user not permitted to {verb} requests with signerName "{signer}"'
    raise storage.forbidden(route.resource, route.name, cause)
