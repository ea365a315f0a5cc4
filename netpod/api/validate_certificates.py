"""What is wrong with a CertificateSigningRequest, and what may not change of it.

That its text is a request, and signed by its own key, is for apiserver/certificates.py: it needs a library.

Source: pkg/apis/certificates/validation/validation.go.
"""

import re

from netpod.api import validate_names
from netpod.api.certificates import APPROVED, DENIED, FAILED, CertificateSigningRequest
from netpod.api.validate_errors import Errors

USAGES = frozenset(
    "signing|digital signature|content commitment|key encipherment|key agreement|data encipherment|cert sign|crl sign|"
    "encipher only|decipher only|any|server auth|client auth|code signing|email protection|s/mime|ipsec end system|"
    "ipsec tunnel|ipsec user|timestamping|ocsp signing|microsoft sgc|netscape sgc".split("|")
)
LEAST_SECONDS = 600
_PATH = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


def request(errors: Errors, obj: CertificateSigningRequest) -> None:
    """Rules of a request as it stands."""
    spec = obj.spec
    if not spec.request:
        errors.required("spec.request")
    if not spec.usages:
        errors.required("spec.usages")
    for number, usage in enumerate(spec.usages):
        field = f"spec.usages[{number}]"
        errors.supported(field, usage, sorted(USAGES))
        if usage in spec.usages[:number]:
            errors.duplicate(field, usage)
    _signer(errors, spec.signer_name)
    if spec.expiration_seconds is not None and spec.expiration_seconds < LEAST_SECONDS:
        least = f"may not specify a duration less than {LEAST_SECONDS} seconds (10 minutes)"
        errors.invalid("spec.expirationSeconds", spec.expiration_seconds, least)
    _conditions(errors, obj)


def _signer(errors: Errors, name: str) -> None:
    field = "spec.signerName"
    if not name:
        errors.required(field)
        return
    domain, slash, path = name.partition("/")
    if not slash:
        form = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        errors.invalid(field, name, form)
        return
    for why in validate_names.dns1123_subdomain(domain):
        errors.invalid(field, domain, why)
    if "." not in domain:
        errors.invalid(
            field, domain, "should be a domain with at least two segments separated by dots"
        )
    if not path or not all(_PATH.fullmatch(part) for part in path.split(".")):
        errors.invalid(field, path, "validating label")


def _conditions(errors: Errors, obj: CertificateSigningRequest) -> None:
    types = [it.type for it in obj.status.conditions]
    for number, condition in enumerate(obj.status.conditions):
        field = f"status.conditions[{number}]"
        if not condition.type:
            errors.required(f"{field}.type")
        elif condition.type in types[:number]:
            errors.duplicate(f"{field}.type", condition.type)
        if not condition.status:
            errors.required(f"{field}.status")
        elif condition.type in (APPROVED, DENIED, FAILED):
            errors.supported(f"{field}.status", condition.status, ["True"])
    if APPROVED in types and DENIED in types:
        errors.invalid(
            "status.conditions", DENIED, "Approved and Denied conditions are mutually exclusive"
        )


def request_update(
    errors: Errors, new: CertificateSigningRequest, old: CertificateSigningRequest
) -> None:
    """What was said of a request is not taken back."""
    for kind in (APPROVED, DENIED, FAILED):
        had, has = (sum(it.type == kind for it in one.status.conditions) for one in (old, new))
        if has < had:
            why = f'updates may not remove a condition of type "{kind}"'
            errors.forbidden("status.conditions", why)
    if old.status.certificate and new.status.certificate != old.status.certificate:
        errors.forbidden(
            "status.certificate", "updates may not modify existing certificate content"
        )
