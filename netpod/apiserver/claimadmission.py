"""What a new PersistentVolumeClaim gets: the default class, and a finalizer while pods may use it; and who may grow.

Source: plugin/pkg/admission/storage: storageclass/setdefault, storageobjectinuseprotection, persistentvolume/resize.
"""

from typing import cast

from netpod.api import quantity, registry, structs
from netpod.api.meta import Object
from netpod.api.storage import PersistentVolumeClaim, StorageClass
from netpod.apiserver import objects, storage
from netpod.apiserver.storage import Storage
from netpod.store.store import RECENT

CLASSES = registry.of(StorageClass)
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
PROTECTION = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION = "kubernetes.io/pv-protection"
_CLAIMS = registry.of(PersistentVolumeClaim)


async def default_class(store: Storage, obj: Object) -> Object:
    """Fill in the newest default StorageClass where the author named none; `""` means none."""
    claim = cast(PersistentVolumeClaim, obj)
    if claim.spec.storage_class_name is not None:
        return claim
    if "volume.beta.kubernetes.io/storage-class" in claim.metadata.annotations:
        return claim
    page = await store.list(CLASSES, not_older_than=RECENT)
    classes = [
        (about["creationTimestamp"], about["name"])
        for about in (objects.parsed(kv)["metadata"] for kv in page.items)
        if about.get("annotations", {}).get(DEFAULT_CLASS) == "true"
    ]
    if not classes:
        return claim
    newest = max(created for created, _ in classes)
    name = min(name for created, name in classes if created == newest)
    return structs.replace(claim, spec=structs.replace(claim.spec, storage_class_name=name))


async def protect(_: Storage, obj: Object) -> Object:
    """A claim stays until no pod uses it."""
    return _kept(obj, PROTECTION)


async def protect_volume(_: Storage, obj: Object) -> Object:
    """A volume stays until no claim has it."""
    return _kept(obj, VOLUME_PROTECTION)


def _kept(obj: Object, finalizer: str) -> Object:
    about = obj.metadata
    if finalizer in about.finalizers:
        return obj
    finalizers = (*about.finalizers, finalizer)
    return structs.replace(obj, metadata=structs.replace(about, finalizers=finalizers))


async def check_growth(
    store: Storage, new: PersistentVolumeClaim, old: PersistentVolumeClaim
) -> None:
    """Let a claim grow only where its class says that its volumes can.

    Raises:
        Forbidden: they cannot.
    """
    sizes = [quantity.value(it.spec.resources.requests.get("storage", 0)) for it in (new, old)]
    if sizes[0] <= sizes[1]:
        return
    name = old.spec.storage_class_name
    kv = await store.find(CLASSES, "", name, not_older_than=RECENT) if name else None
    if kv is None or not objects.parsed(kv).get("allowVolumeExpansion"):
        raise storage.forbidden(
            _CLAIMS,
            new.metadata.name,
            "only dynamically provisioned pvc can be resized and "
            "the storageclass that provisions the pvc must support resize",
        )
