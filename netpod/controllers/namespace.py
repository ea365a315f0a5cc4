"""Namespace controller: empties a namespace that is being deleted, then lets it go.

Pods go first; the rest follows when the last pod is gone, so that nothing a pod still needs (its policies, its
Services) disappears from under it. What is there is asked of the API server each time, never of a cache.

Source: kubernetes pkg/controller/namespace/deletion/namespaced_resources_deleter.go, KEP-5080 (ordered deletion).
"""

import dataclasses
import json
import logging

from netpod.api import meta, registry
from netpod.api.apiextensions import CustomResourceDefinition
from netpod.api.core import Namespace
from netpod.api.meta import Key, Object
from netpod.api.pod import Pod
from netpod.controllers import customkinds
from netpod.controllers.controller import Context, Controller
from netpod.errors import NotFound

log = logging.getLogger(__name__)

FINALIZER = "kubernetes"
RETRY = 0.5
"""Seconds until content that waits for somebody's finalizer is looked at again."""


class NamespaceController:
    """Carries out the deletion of namespaces."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._namespaces = context.view(Namespace)
        self._pods = context.view(Pod)
        self._loop: Controller[Key] = context.loop(
            "namespace", self.reconcile, after=[self._namespaces]
        )
        self._namespaces.subscribe(self._namespace_changed)
        self._pods.subscribe(self._pod_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _namespace_changed(self, old: Namespace | None, new: Namespace | None) -> None:
        if new is not None and new.metadata.deletion_timestamp:
            self._loop.enqueue(meta.key_of(new))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is None and old is not None:
            key = Key("", old.metadata.namespace)
            namespace = self._namespaces.get(key)
            if namespace is not None and namespace.metadata.deletion_timestamp:
                self._loop.enqueue(key)

    async def reconcile(self, key: Key) -> None:
        """Delete what is left in one namespace; when nothing is, remove our finalizer."""
        namespace = self._namespaces.get(key)
        if namespace is None or not namespace.metadata.deletion_timestamp:
            return
        if FINALIZER not in namespace.spec.finalizers:
            return
        left = await self._delete_all(Pod, key.name)
        if left == 0:
            for cls in await self._kinds():
                left += await self._delete_all(cls, key.name)
        if left:
            self._loop.enqueue_after(key, RETRY)
            return
        await self._finalize(namespace)

    async def _kinds(self) -> list[type[Object]]:
        """Classes of everything namespaced but pods, custom kinds as they are now included."""
        definitions = await self._context.client.list(CustomResourceDefinition)
        customs = [customkinds.resource_of(definition) for definition in definitions.items]
        found = (*registry.RESOURCES, *(r for r in customs if r is not None))
        return [r.cls for r in found if r.namespaced and r.cls is not Pod]

    async def _delete_all(self, cls: type[Object], namespace: str) -> int:
        """Delete every object of a kind; return how many are still there afterwards."""
        listing = await self._context.client.list(cls, namespace)
        if not listing.items:
            return 0
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        path = registry.of(cls).path(namespace)
        await self._context.client.raw("DELETE", path, json.dumps(options).encode())
        return len((await self._context.client.list(cls, namespace)).items)

    async def _finalize(self, namespace: Namespace) -> None:
        kept = tuple(name for name in namespace.spec.finalizers if name != FINALIZER)
        spec = dataclasses.replace(namespace.spec, finalizers=kept)
        try:
            await self._context.client.update(
                dataclasses.replace(namespace, spec=spec), subresource="finalize"
            )
        except NotFound:
            return
        log.info("namespace %s is empty and gone", namespace.metadata.name)
