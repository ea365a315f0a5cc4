"""Certificates and the Secrets that hold them."""

import base64
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from netpod.api import meta
from netpod.api.core import Secret
from netpod.api.meta import ObjectMeta

NOW = meta.now()


def make_pair(
    *names: str,
    begins: datetime = NOW - timedelta(days=1),
    ends: datetime = NOW + timedelta(days=9),
) -> tuple[str, str]:
    """Return certificate and key as PEM; the first name is the common name, too."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def make_secret(
    name: str, certificate: str, key: str, *, type: str = "kubernetes.io/tls"
) -> Secret:
    """Build a Secret of the namespace default."""
    data = {"tls.crt": certificate, "tls.key": key}
    return Secret(
        metadata=ObjectMeta(name=name, namespace="default"),
        type=type,
        data={field: base64.b64encode(text.encode()).decode() for field, text in data.items()},
    )
