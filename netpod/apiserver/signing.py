"""Signing and reading JSON Web Tokens with the cluster's key for ServiceAccounts.

The key is made when the first token is asked for and kept beside the certificates; signing needs a library whose import
costs more than a whole request, so that waits until then too.

Source: pkg/serviceaccount/jwt.go; RFC 7519, RFC 7518 (ES256).
"""

import base64
import functools
import hashlib
import typing
from pathlib import Path

import orjson

from netpod.api.meta import Json

if typing.TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

MAX_VERIFIED = 1024


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Signer:
    """Signs, and says what is signed.

    Args:
        folder: Where the key is kept; None keeps it in memory only.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._verified: dict[str, dict[str, Json]] = {}

    @functools.cached_property
    def _key(self) -> "ec.EllipticCurvePrivateKey":
        from netpod.apiserver import pki

        return pki.signing_key(self._folder)

    @functools.cached_property
    def jwk(self) -> dict[str, str]:
        """The public key, as in RFC 7517."""
        numbers = self._key.public_key().public_numbers()
        x, y = (_encoded(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
        kid = _encoded(hashlib.sha256(f"{x}.{y}".encode()).digest())
        return {
            "use": "sig",
            "kty": "EC",
            "kid": kid,
            "alg": "ES256",
            "crv": "P-256",
            "x": x,
            "y": y,
        }

    def sign(self, claims: dict[str, Json]) -> str:
        """A JWT of the claims."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        header = orjson.dumps({"alg": "ES256", "kid": self.jwk["kid"]})
        text = f"{_encoded(header)}.{_encoded(orjson.dumps(claims))}"
        r, s = utils.decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def claims(self, token: str) -> dict[str, Json] | None:
        """The claims of a token with our signature; None of any other."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        known = self._verified.get(token)
        if known is not None:
            return known
        try:
            head, body, signature = token.split(".")
            raw = _decoded(signature)
            if orjson.loads(_decoded(head)).get("alg") != "ES256" or len(raw) != 64:
                return None
            der = utils.encode_dss_signature(
                int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
            )
            public = self._key.public_key()
            public.verify(der, f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
            claims: dict[str, Json] = orjson.loads(_decoded(body))
        except (ValueError, InvalidSignature, AttributeError):
            return None
        if len(self._verified) >= MAX_VERIFIED:
            self._verified.clear()
        self._verified[token] = claims
        return claims
