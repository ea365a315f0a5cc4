"""A Secret of type kubernetes.io/tls -> what HAProxy serves, or why it cannot be served (pure).

The library that reads certificates costs 80 ms and 10 MB; it is imported when the first such Secret is named.
"""

import base64
import binascii
import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from netpod.api.core import Secret
from netpod.ingress.model import wildcard_of

TYPE = "kubernetes.io/tls"


class UnusableError(Exception):
    """Why a certificate cannot be served; follows `Secret NAMESPACE/NAME `."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate that fits its key.

    Attributes:
        pem: The chain, its own certificate first, then the key; no empty line.
        names: DNS names it is for, in lower case: `a.com`, `*.a.com`.
        begins: First moment of its validity, UTC.
        ends: Last moment of its validity, UTC.
    """

    pem: str
    names: tuple[str, ...]
    begins: datetime
    ends: datetime

    def covers(self, host: str) -> bool:
        """Whether a client that asks for `host`, which may be a wildcard, accepts its names."""
        return host in self.names or (not host.startswith("*") and wildcard_of(host) in self.names)

    def check(self, now: datetime) -> None:
        """Raise UnusableError outside its validity."""
        if now < self.begins:
            raise UnusableError(
                f"holds a certificate that is not valid before {self.begins:%F %T}Z"
            )
        if now > self.ends:
            raise UnusableError(f"holds a certificate that expired at {self.ends:%F %T}Z")


def of(secret: Secret | None) -> Certificate:
    """Read the certificate of a Secret.

    Raises:
        UnusableError: there is none, or its parts do not fit.
    """
    if secret is None:
        raise UnusableError("does not exist")
    if secret.type != TYPE:
        raise UnusableError(f"is of type {secret.type or 'Opaque'}, not {TYPE}")
    return _read(secret.data.get("tls.crt", ""), secret.data.get("tls.key", ""))


@lru_cache(maxsize=256)
def _read(certificate: str, key: str) -> Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        chain = x509.load_pem_x509_certificates(base64.b64decode(certificate))
    except (ValueError, binascii.Error) as error:
        raise UnusableError("holds no certificate in tls.crt") from error
    try:
        private = serialization.load_pem_private_key(base64.b64decode(key), None)
    # An encrypted key is a TypeError. Source: cryptography, load_pem_private_key.
    except Exception as error:
        raise UnusableError("holds no key that can be read in tls.key") from error
    own = chain[0]
    if own.public_key() != private.public_key():
        raise UnusableError(
            "holds a key in tls.key that does not belong to the certificate in tls.crt"
        )
    pem = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain)
    pem += private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _check_openssl(pem)
    return Certificate(
        pem=pem.decode(),
        names=tuple(name.lower() for name in _names(own)),
        begins=own.not_valid_before_utc,
        ends=own.not_valid_after_utc,
    )


def _names(certificate: object) -> Iterable[str]:
    """DNS names of the extension subjectAltName; without it the common name. Source: RFC 6125."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    assert isinstance(certificate, x509.Certificate), "certificates come from this module"
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return [
            str(n.value) for n in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        ]
    return extension.value.get_values_for_type(x509.DNSName)


def _check_openssl(pem: bytes) -> None:
    """Raise what OpenSSL raises, as HAProxy would: too short a key, a weak signature."""
    fd = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(fd, pem)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(f"/proc/self/fd/{fd}")
    except (ssl.SSLError, OSError) as error:
        reason = (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()
        raise UnusableError(f"holds a certificate that OpenSSL refuses: {reason}") from error
    finally:
        os.close(fd)
