"""Tokens of ServiceAccounts: signed JWTs that live as long as what they are bound to.

Source: pkg/serviceaccount/{claims,legacy}.go; OpenID Connect Discovery 1.0.
"""

import base64
import secrets
from collections.abc import Sequence
from typing import Any

import orjson

from netpod import errors
from netpod.api import meta, registry
from netpod.api.core import Secret, ServiceAccount
from netpod.api.meta import Json
from netpod.api.pod import Pod
from netpod.apiserver import negotiation, objects, status
from netpod.apiserver.authentication import User
from netpod.apiserver.calls import Call, Reply
from netpod.apiserver.signing import Signer
from netpod.apiserver.storage import Storage
from netpod.apiserver.writes import Writer
from netpod.store.store import RECENT

ISSUER = "https" + "://kubernetes.default.svc.cluster.local"
LEGACY_ISSUER = "kubernetes/serviceaccount"
CONFIGURATION, KEYS = "/.well-known/openid-configuration", "/openid/v1/jwks"
DEFAULT_SECONDS, LEAST_SECONDS, MOST_SECONDS = 3600, 600, 1 << 32
LEEWAY = 10
ACCOUNTS = registry.of(ServiceAccount)
_BOUND = {"Pod": registry.of(Pod), "Secret": registry.of(Secret)}
_EXTRA = "authentication.kubernetes.io/"
_LEGACY = "kubernetes.io/serviceaccount/"
_LEGACY_NAMES = ("namespace", "secret.name", "service-account.name", "service-account.uid")


class Tokens:
    """Issues and verifies.

    Args:
        storage: Where accounts and pods are.
        signer: Has the key.
    """

    def __init__(self, storage: Storage, signer: Signer) -> None:
        self._storage = storage
        self.signer = signer

    def document(self, path: str, base: str) -> bytes:
        """What relying parties read to verify tokens themselves: KEYS, or CONFIGURATION that names them."""
        if path == KEYS:
            return orjson.dumps({"keys": [self.signer.jwk]})
        return orjson.dumps(
            {
                "issuer": ISSUER,
                "jwks_uri": base + KEYS,
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            }
        )

    async def verify(self, token: str, audiences: tuple[str, ...] = ()) -> User | None:
        """The user of a token; None when it is not ours, is over, or what it is bound to is gone."""
        claims = self.signer.claims(token)
        if claims is not None and claims.get("iss") == LEGACY_ISSUER:
            ours = not audiences or ISSUER in audiences
            return await self._of_secret(token, claims) if ours else None
        if claims is None or claims.get("iss") != ISSUER:
            return None
        now = meta.now().timestamp()
        if not claims.get("nbf", 0) - LEEWAY <= now <= claims.get("exp", 0) + LEEWAY:
            return None
        if not set(audiences or (ISSUER,)) & set(claims.get("aud") or ()):
            return None
        private = claims["kubernetes.io"]
        namespace, account = private["namespace"], private["serviceaccount"]
        if not await self._alive(ACCOUNTS, namespace, account):
            return None
        extra = [("credential-id", (f"JTI={claims['jti']}",))]
        for kind, resource in _BOUND.items():
            bound = private.get(kind.lower())
            if bound is None:
                continue
            if not await self._alive(resource, namespace, bound):
                return None
            if kind == "Pod":
                extra += [("pod-name", (bound["name"],)), ("pod-uid", (bound["uid"],))]
        return _user(namespace, account, extra)

    async def _of_secret(self, token: str, claims: dict[str, Json]) -> User | None:
        """The user of a token without end, which a controller manager wrote into a Secret; it lives as long."""
        named = {name: claims.get(f"{_LEGACY}{name}", "") for name in _LEGACY_NAMES}
        namespace = str(named["namespace"])
        account = {key: named[f"service-account.{key}"] for key in ("name", "uid")}
        secret = await self._storage.find(_BOUND["Secret"], namespace, str(named["secret.name"]))
        if secret is None or not await self._alive(ACCOUNTS, namespace, account):
            return None
        found = objects.parsed(secret)
        held = base64.b64decode(found.get("data", {}).get("token", ""))
        if found["metadata"].get("deletionTimestamp") or held != token.encode():
            return None
        return _user(namespace, account)

    async def _alive(
        self, resource: registry.Resource, namespace: str, named: dict[str, Any]
    ) -> bool:
        kv = await self._storage.find(resource, namespace, named["name"], not_older_than=RECENT)
        return kv is not None and objects.parsed(kv)["metadata"].get("uid") == named["uid"]

    async def request(self, writer: Writer, call: Call) -> Reply:
        """POST of a TokenRequest.

        Raises:
            NotFound: the account, or what the token should be bound to.
            Invalid: the time is too short or too long.
            Conflict: what it should be bound to has another uid.
        """
        route = call.route
        data = negotiation.body(call.body, call.content_type) if call.body else {}
        spec = data.get("spec") or {}
        if not isinstance(spec, dict) or data.get("kind", "TokenRequest") != "TokenRequest":
            raise errors.BadRequest("the body is no TokenRequest")
        account = objects.parsed(await writer.storage.get(ACCOUNTS, route.namespace, route.name))
        seconds = _seconds(spec, route.name)
        audiences = [str(name) for name in spec.get("audiences") or ()] or [ISSUER]
        private: dict[str, Json] = {
            "namespace": route.namespace,
            "serviceaccount": {"name": route.name, "uid": account["metadata"]["uid"]},
        }
        bound = spec.get("boundObjectRef")
        if isinstance(bound, dict):
            private |= await self._bind(writer, route.namespace, bound)
        now = writer.now()
        start = int(now.timestamp())
        claims = {
            "aud": audiences,
            "exp": start + seconds,
            "iat": start,
            "iss": ISSUER,
            "jti": secrets.token_hex(16),
            "kubernetes.io": private,
            "nbf": start,
            "sub": f"system:serviceaccount:{route.namespace}:{route.name}",
        }
        expires = meta.timestamp(now.fromtimestamp(start + seconds, tz=now.tzinfo))
        answer = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {
                "name": route.name,
                "namespace": route.namespace,
                "creationTimestamp": meta.timestamp(now),
            },
            "spec": {
                "audiences": audiences,
                "expirationSeconds": seconds,
                "boundObjectRef": bound,
            },
            "status": {"token": self.signer.sign(claims), "expirationTimestamp": expires},
        }
        return Reply(status=201, body=negotiation.dump(answer))

    async def _bind(
        self, writer: Writer, namespace: str, bound: dict[str, Json]
    ) -> dict[str, Json]:
        kind, name = str(bound.get("kind", "")), str(bound.get("name", ""))
        resource = _BOUND.get(kind)
        if resource is None:
            raise errors.BadRequest(
                f"cannot bind token for serviceaccount to object of type {kind}"
            )
        kv = await writer.storage.get(resource, namespace, name)
        uid = objects.parsed(kv)["metadata"]["uid"]
        if bound.get("uid") and bound["uid"] != uid:
            raise errors.Conflict(
                f'Operation cannot be fulfilled on {resource.plural} "{name}": the UID in the '
                f"bound object reference ({bound['uid']}) does not match the UID in record. The "
                "object might have been deleted and then recreated"
            )
        return {kind.lower(): {"name": name, "uid": uid}}


def _user(
    namespace: str, account: dict[str, Json], extra: Sequence[tuple[str, tuple[str, ...]]] = ()
) -> User:
    return User(
        name=f"system:serviceaccount:{namespace}:{account['name']}",
        groups=frozenset(("system:serviceaccounts", f"system:serviceaccounts:{namespace}")),
        uid=account["uid"],
        extra=tuple((_EXTRA + key, values) for key, values in extra),
    )


def _seconds(spec: dict[str, Json], name: str) -> int:
    seconds = spec.get("expirationSeconds")
    if seconds is None:
        return DEFAULT_SECONDS
    if type(seconds) is not int:
        raise errors.BadRequest("spec.expirationSeconds: expected an integer")
    if seconds < LEAST_SECONDS:
        detail = "may not specify a duration less than 10 minutes"
    elif seconds > MOST_SECONDS:
        detail = f"may not specify a duration larger than {MOST_SECONDS} seconds"
    else:
        return seconds
    error = errors.FieldError(
        field="spec.expirationSeconds",
        reason="FieldValueInvalid",
        message=f"Invalid value: {seconds}: {detail}",
    )
    raise status.invalid("TokenRequest", "authentication.k8s.io", name, [error])
