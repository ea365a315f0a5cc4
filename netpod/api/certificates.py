"""CertificateSigningRequest: somebody's wish for a certificate, whether it was approved, and what was signed.

Source: k8s.io/api certificates/v1/types.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from netpod.api.meta import EMPTY, Object, Struct, always

GROUP = "certificates.k8s.io"
APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSigningRequestSpec(Struct):
    """What is wanted; `request` is PEM in base64, and the last four say who asked, as the API server saw him."""

    request: str = always("")
    signer_name: str = always("")
    expiration_seconds: int | None = None
    usages: tuple[str, ...] = ()
    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSigningRequestCondition(Struct):
    """One of Approved, Denied and Failed, which are there or not, and are never False."""

    type: str = always("")
    status: str = always("")
    reason: str = ""
    message: str = ""
    last_update_time: str | None = None
    last_transition_time: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSigningRequestStatus(Struct):
    """What approvers and signer said; `certificate` is PEM in base64."""

    conditions: tuple[CertificateSigningRequestCondition, ...] = ()
    certificate: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSigningRequest(Object):
    """A request for a certificate."""

    api_version: str = always(f"{GROUP}/v1")
    kind: str = always("CertificateSigningRequest")
    spec: CertificateSigningRequestSpec = field(default_factory=CertificateSigningRequestSpec)
    status: CertificateSigningRequestStatus = field(default_factory=CertificateSigningRequestStatus)


def has(request: CertificateSigningRequest, condition: str) -> bool:
    """Whether a request has a condition."""
    return any(it.type == condition for it in request.status.conditions)
