"""Tokens controller: a Secret of type kubernetes.io/service-account-token gets a token without end for its account.

Nobody needs one, since pods are given tokens that are renewed; who makes such a Secret wants one that he can copy.

Source: kubernetes pkg/controller/serviceaccount/tokens_controller.go, pkg/serviceaccount/legacy.go.
"""

import base64
import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Any

from netpod.api import meta
from netpod.api.core import Secret, ServiceAccount
from netpod.api.meta import Key
from netpod.controllers.controller import Context, Controller
from netpod.errors import Conflict, NotFound

log = logging.getLogger(__name__)

TYPE = "kubernetes.io/service-account-token"
NAME = "kubernetes.io/service-account.name"
UID = "kubernetes.io/service-account.uid"
_CLAIM = "kubernetes.io/serviceaccount/"

Sign = Callable[[dict[str, Any]], str]


class TokensController:
    """Fills such Secrets, and deletes those whose account is gone. Keys are Secrets.

    Args:
        context: Of the process.
        sign: Makes a token of claims; None issues none.
        certificate: The authority's certificate, PEM.
    """

    def __init__(self, context: Context, sign: Sign | None, certificate: str) -> None:
        self._context = context
        self._sign = sign
        self._certificate = certificate
        self._accounts = context.view(ServiceAccount)
        self._secrets = context.view(Secret)
        self._loop: Controller[Key] = context.loop(
            "serviceaccount-token", self.reconcile, after=[self._accounts, self._secrets]
        )
        if sign is not None:
            self._secrets.index("account", by_account)
            self._secrets.subscribe(self._secret_changed)
            self._accounts.subscribe(self._account_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _secret_changed(self, old: Secret | None, new: Secret | None) -> None:
        shown = new or old
        if shown is not None and shown.type == TYPE:
            self._loop.enqueue(meta.key_of(shown))

    def _account_changed(self, old: ServiceAccount | None, new: ServiceAccount | None) -> None:
        shown = new or old
        assert shown is not None, "a change is a change of something"
        for secret in self._secrets.by("account", str(meta.key_of(shown))):
            self._loop.enqueue(meta.key_of(secret))

    async def reconcile(self, key: Key) -> None:
        """Bring one Secret to what its account is."""
        secret = self._secrets.get(key)
        if secret is None:
            await self._unlist(key)
            return
        about = secret.metadata
        name = about.annotations.get(NAME)
        if secret.type != TYPE or not name or about.deletion_timestamp:
            return
        account = await self._account(Key(key.namespace, name))
        uid = about.annotations.get(UID)
        try:
            if account is None or (uid and uid != account.metadata.uid):
                await self._context.client.delete(Secret, key.name, key.namespace, uid=about.uid)
                return
            filled = self._filled(secret, account)
            if filled != secret:
                self._secrets.wrote(await self._context.client.update(filled))
        except (Conflict, NotFound) as error:
            log.debug("secret %s: %s", key, error)

    async def _account(self, key: Key) -> ServiceAccount | None:
        """The account, asked for live before anybody believes that it is gone."""
        known = self._accounts.get(key)
        if known is not None:
            return known
        try:
            return await self._context.client.get(ServiceAccount, key.name, key.namespace)
        except NotFound:
            return None

    def _filled(self, secret: Secret, account: ServiceAccount) -> Secret:
        assert self._sign is not None, "nothing is enqueued without it"
        about, data = secret.metadata, dict(secret.data)
        if self._certificate:
            data["ca.crt"] = _base64(self._certificate)
        data.setdefault("namespace", _base64(about.namespace))
        if not data.get("token"):
            owner = account.metadata
            claims = {
                "iss": "kubernetes/serviceaccount",
                "sub": f"system:serviceaccount:{owner.namespace}:{owner.name}",
                f"{_CLAIM}namespace": owner.namespace,
                f"{_CLAIM}secret.name": about.name,
                f"{_CLAIM}service-account.name": owner.name,
                f"{_CLAIM}service-account.uid": owner.uid,
            }
            data["token"] = _base64(self._sign(claims))
        annotations = {**about.annotations, UID: account.metadata.uid}
        metadata = dataclasses.replace(about, annotations=annotations)
        return dataclasses.replace(secret, metadata=metadata, data=data)

    async def _unlist(self, key: Key) -> None:
        """Take a Secret that is gone off the accounts that name it."""
        for account in self._accounts.values():
            about = account.metadata
            if about.namespace != key.namespace or about.deletion_timestamp:
                continue
            left = tuple(one for one in account.secrets if one.name != key.name)
            if left != account.secrets:
                again = dataclasses.replace(account, secrets=left)
                self._accounts.wrote(await self._context.client.update(again))


def by_account(secret: Secret) -> Iterator[str]:
    """Index function: the account whose token a Secret holds."""
    if secret.type == TYPE and (name := secret.metadata.annotations.get(NAME)):
        yield str(Key(secret.metadata.namespace, name))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
