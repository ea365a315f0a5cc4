"""Makes the certificate that an approved CertificateSigningRequest asks for.

Source: kubernetes pkg/controller/certificates/{authority/policies.go,signer/signer.go}; RFC 2986, RFC 5280.
"""

import base64
from collections.abc import Iterable
from datetime import timedelta

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from netpod.api.certificates import CertificateSigningRequest
from netpod.apiserver.pki import Authority
from netpod.errors import NetpodError

LIFE = timedelta(days=365)
_PURPOSES = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
}
_KEY = {"digital signature", "key encipherment"}
_KEY_USAGES = _KEY | {
    "signing",
    "content commitment",
    "data encipherment",
    "key agreement",
    "crl sign",
}
_SIGNERS = {
    "kubernetes.io/kube-apiserver-client": (_KEY | {"client auth"}, "client auth"),
    "kubernetes.io/kube-apiserver-client-kubelet": (_KEY | {"client auth"}, "client auth"),
    "kubernetes.io/kubelet-serving": (_KEY | {"server auth"}, "server auth"),
}
"""Usages that a signer allows, and the one it asks for; the others sign for any."""
_NODES = ("kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving")


def sign(authority: Authority, request: CertificateSigningRequest) -> bytes:
    """A certificate in PEM.

    Args:
        authority: Signs it.
        request: Approved, and for a signer of Kubernetes' own.

    Raises:
        NetpodError: the signer does not sign such a request.
    """
    spec = request.spec
    wanted = x509.load_pem_x509_csr(base64.b64decode(spec.request))
    _check(spec.signer_name, set(spec.usages), wanted)
    life = LIFE if spec.expiration_seconds is None else timedelta(seconds=spec.expiration_seconds)
    builder = authority.builder(wanted.subject, wanted.public_key(), min(life, LIFE))
    # All bits off would forbid everything, where leaving it out allows it.
    if set(spec.usages) & _KEY_USAGES:
        builder = builder.add_extension(_usage(spec.usages), True)
    purposes = [_PURPOSES[it] for it in dict.fromkeys(spec.usages) if it in _PURPOSES]
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), False)
    try:
        names = wanted.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        builder = builder.add_extension(names.value, names.critical)
    except x509.ExtensionNotFound:
        pass
    return authority.issue(builder)


def _check(signer: str, usages: set[str], wanted: x509.CertificateSigningRequest) -> None:
    allowed, needed = _SIGNERS.get(signer, (usages, ""))
    if not usages <= allowed or (needed and needed not in usages):
        raise NetpodError(f"usages did not match {sorted(allowed)}, of which {needed} is needed")
    if signer not in _NODES:
        return
    if [it.value for it in wanted.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] != [
        "system:nodes"
    ]:
        raise NetpodError("subject organization is not system:nodes")
    names = wanted.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not names or not str(names[0].value).startswith("system:node:"):
        raise NetpodError("subject common name does not begin with system:node:")


def _usage(usages: Iterable[str]) -> x509.KeyUsage:
    has = set(usages)
    agreement = "key agreement" in has
    return x509.KeyUsage(
        digital_signature=bool(has & {"signing", "digital signature"}),
        content_commitment="content commitment" in has,
        key_encipherment="key encipherment" in has,
        data_encipherment="data encipherment" in has,
        key_agreement=agreement,
        # Who may sign certificates is an authority; this is none.
        key_cert_sign=False,
        crl_sign="crl sign" in has,
        encipher_only=agreement and "encipher only" in has,
        decipher_only=agreement and "decipher only" in has,
    )
