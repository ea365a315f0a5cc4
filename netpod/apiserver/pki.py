"""The cluster's own certificate authority, and what it signs.

Keys lie in one folder that only root may enter. The CA lives ten years, what it signs one; whatever is near its end
(or lacks an address it needs) is made anew when asked for.

Source: kubeadm's certificates: names, lifetimes, CN and O of users; RFC 5280.
"""

import base64
import contextlib
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from netpod.ip import Address

CA_LIFE = timedelta(days=3650)
LIFE = timedelta(days=365)
NEAR = timedelta(days=60)
"""A certificate with less than this left is renewed."""
BACKDATE = timedelta(minutes=5)
"""Clocks of machines differ; so a new certificate is valid from a little earlier."""

CLUSTER_DOMAIN = "cluster.local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate and its private key, as files in PEM."""

    certificate: Path
    key: Path


def server_names(addresses: Sequence[Address], names: Sequence[str] = ()) -> tuple[str, ...]:
    """Names and addresses the API server's certificate must hold, the cluster's usual ones first."""
    usual = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{CLUSTER_DOMAIN}",
        "127.0.0.1",
    ]
    return tuple(dict.fromkeys([*usual, *names, *map(str, addresses)]))


def due(folder: Path, now: datetime) -> list[str]:
    """Roles whose certificates are near their end, or cannot be read."""
    found = []
    for path in sorted(folder.glob("*.crt")):
        try:
            left = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc - now
        except ValueError:
            left = timedelta()
        if left <= NEAR:
            found.append(path.stem)
    return found


class Authority:
    """A certificate authority in a folder, made on first use.

    Args:
        folder: Where keys and certificates lie; created with mode 0700.
        now: The present moment, timezone-aware.
        role: What its own files are called: ROLE.crt and ROLE.key.
    """

    def __init__(self, folder: Path, now: datetime, role: str = "ca") -> None:
        self.folder = folder
        self._now = now
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.pair = self._pair(role)
        if not self._usable(self.pair):
            key = ec.generate_private_key(ec.SECP256R1())
            name = _name(f"netpod-{role}")
            builder = self._builder(name, name, key.public_key(), CA_LIFE)
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
            builder = builder.add_extension(_usage(ca=True), True)
            _write(self.pair, builder.sign(key, hashes.SHA256()), key)
        self._certificate = _certificate(self.pair)
        self._key = _key(self.pair)

    @property
    def ca_pem(self) -> bytes:
        """The CA's certificate, for clients."""
        return self.pair.certificate.read_bytes()

    def server(
        self, names: Sequence[str], role: str = "apiserver", user: str = "kube-apiserver"
    ) -> Pair:
        """A server certificate for DNS names and addresses; the one on disk while it serves."""
        pair = self._pair(role)
        if self._usable(pair) and set(names) <= set(_sans(_certificate(pair))):
            return pair
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        return self._sign(pair, _name(user), ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def client(self, role: str, user: str, groups: Sequence[str] = ()) -> Pair:
        """A client certificate for a user and its groups; the one on disk while it serves."""
        pair = self._pair(role)
        subject = _name(user, groups)
        if self._usable(pair) and _certificate(pair).subject == subject:
            return pair
        return self._sign(pair, subject, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def server_context(self, names: Sequence[str]) -> ssl.SSLContext:
        """TLS 1.2+ for a server; clients may show a certificate of ours, or none."""
        pair = self.server(names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(pair.certificate, pair.key)
        context.load_verify_locations(self.pair.certificate)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.set_alpn_protocols(["http/1.1"])
        return context

    def builder(
        self, subject: x509.Name, key: CertificatePublicKeyTypes, life: timedelta
    ) -> x509.CertificateBuilder:
        """The beginning of a certificate that is no authority's; it does not outlive this one."""
        left = self._certificate.not_valid_after_utc - self._now
        builder = self._builder(subject, self._certificate.subject, key, min(life, left))
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return builder.add_extension(issuer, False)

    def issue(self, builder: x509.CertificateBuilder) -> bytes:
        """The certificate, signed, in PEM."""
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def _pair(self, role: str) -> Pair:
        return Pair(certificate=self.folder / f"{role}.crt", key=self.folder / f"{role}.key")

    def _usable(self, pair: Pair) -> bool:
        """Whether both files are there, belong together, come from this CA and have time left."""
        if not pair.certificate.exists() or not pair.key.exists():
            return False
        try:
            certificate, key = _certificate(pair), _key(pair)
        except ValueError:
            return False
        if certificate.public_key() != key.public_key():
            return False
        if pair != self.pair:
            try:
                certificate.verify_directly_issued_by(self._certificate)
            except Exception:  # noqa: BLE001 - any failure to verify means: make a new one
                return False
        return certificate.not_valid_after_utc - self._now > NEAR

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: CertificatePublicKeyTypes, life: timedelta
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - BACKDATE)
            .not_valid_after(self._now + life)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
        )

    def _sign(
        self,
        pair: Pair,
        subject: x509.Name,
        usage: x509.ObjectIdentifier,
        alternatives: x509.SubjectAlternativeName | None,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self.builder(subject, key.public_key(), LIFE)
        builder = builder.add_extension(_usage(ca=False), True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
        if alternatives is not None:
            builder = builder.add_extension(alternatives, False)
        _write(pair, builder.sign(self._key, hashes.SHA256()), key)
        return pair


def signing_key(folder: Path | None) -> ec.EllipticCurvePrivateKey:
    """The key that signs ServiceAccounts' tokens, made on first use; None keeps it in memory only.

    Two processes that make it at once get the same one: the first that is there.
    """
    if folder is None:
        return ec.generate_private_key(ec.SECP256R1())
    file = folder / "sa.key"
    if not file.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = file.with_name(f".sa.key.{os.getpid()}")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as stream:
            stream.write(_pem(ec.generate_private_key(ec.SECP256R1())))
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(FileExistsError):
            file.hardlink_to(fresh)
        fresh.unlink()
    return _read_key(file)


def kubeconfig(*, cluster: str, server: str, ca_pem: bytes, user: str, client: Pair) -> str:
    """A kubeconfig with everything inside; write it with mode 0600.

    Args:
        cluster: Name of cluster and context, e.g. `netpod`.
        server: `https://ADDRESS:PORT`.
        ca_pem: The CA's certificate.
        user: Name of the entry under users.
        client: That user's certificate and key.
    """
    data = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": cluster,
                "cluster": {"server": server, "certificate-authority-data": _base64(ca_pem)},
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": _base64(client.certificate.read_bytes()),
                    "client-key-data": _base64(client.key.read_bytes()),
                },
            }
        ],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        "current-context": cluster,
        "preferences": {},
    }
    return yaml.safe_dump(data, sort_keys=False, width=10_000)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _name(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _sans(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in found.value]


def _certificate(pair: Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate.read_bytes())


def _key(pair: Pair) -> ec.EllipticCurvePrivateKey:
    return _read_key(pair.key)


def _read_key(file: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an EC key")
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(pair: Pair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    text = _pem(key)
    # Each file is whole or absent: written aside with its final mode, then renamed.
    for path, data in (
        (pair.key, text),
        (pair.certificate, certificate.public_bytes(serialization.Encoding.PEM)),
    ):
        aside = path.with_suffix(path.suffix + ".new")
        aside.unlink(missing_ok=True)
        aside.touch(mode=0o600)
        aside.write_bytes(data)
        aside.rename(path)
