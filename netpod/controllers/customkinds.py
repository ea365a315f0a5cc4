"""Which custom kinds there are, as the definitions say at the moment.

Source: kubernetes pkg/controller/garbagecollector/garbagecollector.go Sync, which asks discovery instead.
"""

from collections.abc import Callable

from netpod.api import meta, registry
from netpod.api.apiextensions import CustomResourceDefinition
from netpod.api.registry import Resource
from netpod.controllers.controller import Context

Told = Callable[[Resource], None]


def resource_of(definition: CustomResourceDefinition) -> Resource | None:
    """The resource of a definition in one version that is served, the stored one if it is; None when none is."""
    established = meta.condition(definition.status.conditions, "Established")
    if established is None or established.status != "True":
        return None
    spec = definition.spec
    served = [version for version in spec.versions if version.get("served")]
    if not served:
        return None
    version = next((v for v in served if v.get("storage")), served[0])
    return registry.custom(
        spec.group,
        str(version["name"]),
        str(spec.names["kind"]),
        str(spec.names["plural"]),
        spec.scope == "Namespaced",
    )


class CustomKinds:
    """Follows definitions.

    Args:
        context: Of the process.
        added: Told of a kind that is served from now on.
        removed: Told of one that is no longer.
    """

    def __init__(self, context: Context, added: Told, removed: Told) -> None:
        self._added = added
        self._removed = removed
        self._resources: dict[str, Resource] = {}
        self._definitions = context.view(CustomResourceDefinition)

    def start(self) -> None:
        """Begin to tell, also of the kinds that are there already."""
        self._definitions.subscribe(self._changed)

    def find(self, api_version: str, kind: str) -> Resource | None:
        """The resource of a custom kind, whichever of its versions is named."""
        group = api_version.rpartition("/")[0]
        for resource in self._resources.values():
            if (resource.group, resource.kind) == (group, kind):
                return resource
        return None

    def _changed(
        self, old: CustomResourceDefinition | None, new: CustomResourceDefinition | None
    ) -> None:
        shown = new or old
        assert shown is not None, "a change is a change of something"
        name = shown.metadata.name
        wanted = resource_of(new) if new is not None else None
        known = self._resources.get(name)
        if wanted is known:
            return
        if known is not None:
            del self._resources[name]
            self._removed(known)
        if wanted is not None:
            self._resources[name] = wanted
            self._added(wanted)
