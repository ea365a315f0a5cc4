"""Root CA publisher: every namespace has ConfigMap kube-root-ca.crt, by which pods know the API server.

Source: kubernetes pkg/controller/certificates/rootcacertpublisher/publisher.go.
"""

import dataclasses
import logging

from netpod.api import meta
from netpod.api.core import ConfigMap, Namespace
from netpod.api.meta import Key, ObjectMeta
from netpod.controllers.controller import Context, Controller
from netpod.errors import AlreadyExists, Conflict, Forbidden, NotFound

log = logging.getLogger(__name__)

NAME = "kube-root-ca.crt"
_NOTE = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


class RootCaPublisher:
    """Makes the ConfigMap, and puts it right when it is changed or deleted.

    Args:
        context: Of the process.
        certificate: The authority's certificate, PEM; "" publishes nothing.
    """

    def __init__(self, context: Context, certificate: str) -> None:
        self._context = context
        self._certificate = certificate
        self._namespaces = context.view(Namespace)
        self._maps = context.view(ConfigMap)
        self._loop: Controller[Key] = context.loop(
            "root-ca-cert-publisher", self.reconcile, after=[self._namespaces, self._maps]
        )
        if certificate:
            self._namespaces.subscribe(self._namespace_changed)
            self._maps.subscribe(self._map_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _namespace_changed(self, old: Namespace | None, new: Namespace | None) -> None:
        if new is not None:
            self._loop.enqueue(meta.key_of(new))

    def _map_changed(self, old: ConfigMap | None, new: ConfigMap | None) -> None:
        shown = new or old
        assert shown is not None, "a change is a change of something"
        if shown.metadata.name == NAME:
            self._loop.enqueue(Key("", shown.metadata.namespace))

    async def reconcile(self, key: Key) -> None:
        """Give one namespace its certificate."""
        namespace = self._namespaces.get(key)
        if namespace is None or namespace.metadata.deletion_timestamp:
            return
        known = self._maps.get(Key(key.name, NAME))
        data = {"ca.crt": self._certificate}
        try:
            if known is None:
                about = ObjectMeta(
                    name=NAME,
                    namespace=key.name,
                    annotations={"kubernetes.io/description": _NOTE},
                )
                self._maps.wrote(
                    await self._context.client.create(ConfigMap(metadata=about, data=data))
                )
            elif known.data != data:
                again = dataclasses.replace(known, data=data)
                self._maps.wrote(await self._context.client.update(again))
        except AlreadyExists as error:
            raise Conflict(str(error)) from error
        except (Forbidden, NotFound) as error:
            log.debug("configmap %s/%s: %s", key.name, NAME, error)
