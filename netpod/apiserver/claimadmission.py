"""What a new PersistentVolumeClaim gets: the default class, and a finalizer while pods may use it.

Source: plugin/pkg/admission/storage/storageclass/setdefault, plugin/pkg/admission/storage/storageobjectinuseprotection.
"""

from typing import cast

from netpod.api import registry, structs
from netpod.api.meta import Object
from netpod.api.storage import PersistentVolumeClaim, StorageClass
from netpod.apiserver import objects
from netpod.apiserver.storage import Storage

CLASSES = registry.of(StorageClass)
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
PROTECTION = "kubernetes.io/pvc-protection"


async def default_class(store: Storage, obj: Object) -> Object:
    """Fill in the newest default StorageClass where the author named none; `""` means none."""
    claim = cast(PersistentVolumeClaim, obj)
    if claim.spec.storage_class_name is not None:
        return claim
    if "volume.beta.kubernetes.io/storage-class" in claim.metadata.annotations:
        return claim
    page = await store.list(CLASSES)
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
    claim = cast(PersistentVolumeClaim, obj)
    about = claim.metadata
    if PROTECTION in about.finalizers:
        return claim
    finalizers = (*about.finalizers, PROTECTION)
    return structs.replace(claim, metadata=structs.replace(about, finalizers=finalizers))
