"""ServiceAccounts controller: every namespace has the ServiceAccount `default`.

Source: kubernetes pkg/controller/serviceaccount/serviceaccounts_controller.go.
"""

import logging

from netpod.api import meta
from netpod.api.core import Namespace, ServiceAccount
from netpod.api.meta import Key, ObjectMeta
from netpod.controllers.controller import Context, Controller
from netpod.errors import AlreadyExists, Forbidden, NotFound

log = logging.getLogger(__name__)

NAME = "default"


class ServiceAccountController:
    """Makes the default ServiceAccount, and makes it again when it is deleted."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._namespaces = context.view(Namespace)
        self._accounts = context.view(ServiceAccount)
        self._loop: Controller[Key] = context.loop(
            "serviceaccount", self.reconcile, after=[self._namespaces, self._accounts]
        )
        self._namespaces.subscribe(self._namespace_changed)
        self._accounts.subscribe(self._account_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _namespace_changed(self, old: Namespace | None, new: Namespace | None) -> None:
        if new is not None:
            self._loop.enqueue(meta.key_of(new))

    def _account_changed(self, old: ServiceAccount | None, new: ServiceAccount | None) -> None:
        if new is None and old is not None and old.metadata.name == NAME:
            self._loop.enqueue(Key("", old.metadata.namespace))

    async def reconcile(self, key: Key) -> None:
        """Give one namespace its ServiceAccount."""
        namespace = self._namespaces.get(key)
        if namespace is None or namespace.metadata.deletion_timestamp:
            return
        if self._accounts.get(Key(key.name, NAME)) is not None:
            return
        account = ServiceAccount(metadata=ObjectMeta(name=NAME, namespace=key.name))
        try:
            self._accounts.wrote(await self._context.client.create(account))
        except (AlreadyExists, Forbidden, NotFound) as error:
            log.debug("service account %s/%s: %s", key.name, NAME, error)
