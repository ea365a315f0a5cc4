"""A pod runs as a ServiceAccount and finds that account's token in its file system.

    volume  kube-api-access-xxxxx    token, ca.crt (of ConfigMap kube-root-ca.crt), namespace
    mount   /var/run/secrets/kubernetes.io/serviceaccount, read-only, in every container that mounts nothing there

The volume's name is drawn from what the pod's spec is, not at random: pods of one template go on sharing one spec.

Source: plugin/pkg/admission/serviceaccount/admission.go.
"""

import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, cast

from netpod import errors
from netpod.api import memo, meta, registry, structs
from netpod.api.core import LocalObjectReference, ServiceAccount
from netpod.api.meta import Json, Object, ObjectMeta
from netpod.api.pod import Container, Pod, PodSpec, Volume
from netpod.apiserver import objects, storage
from netpod.apiserver.storage import Storage
from netpod.store.store import RECENT

ACCOUNTS = registry.of(ServiceAccount)
PODS = registry.of(Pod)
DEFAULT = "default"
PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
PREFIX = "kube-api-access-"
MIRROR = "kubernetes.io/config.mirror"
EXPIRATION_SECONDS = 60 * 60 + 7
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SOURCES: Mapping[str, Any] = {
    "projected": {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": EXPIRATION_SECONDS, "path": "token"}},
            {
                "configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }
            },
            {
                "downwardAPI": {
                    "items": [
                        {
                            "path": "namespace",
                            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                        }
                    ]
                }
            },
        ],
        "defaultMode": 0o644,
    }
}


async def account(store: Storage, obj: Object) -> Object:
    """Give a new pod its ServiceAccount, that account's pull secrets, and its token.

    Raises:
        Forbidden: there is no such account.
    """
    pod = cast(Pod, obj)
    if MIRROR in pod.metadata.annotations:
        return pod
    name = pod.spec.service_account_name or pod.spec.service_account or DEFAULT
    found = await _account(store, pod, name)
    pulls = tuple(
        LocalObjectReference(name=str(item.get("name", "")))
        for item in found.get("imagePullSecrets") or ()
    )
    wanted = pod.spec.automount_service_account_token
    if wanted is None:
        wanted = found.get("automountServiceAccountToken") is not False
    return structs.replace(pod, spec=_filled(name, pulls, wanted)(pod.spec))


async def _account(store: Storage, pod: Pod, name: str) -> Mapping[str, Any]:
    namespace = pod.metadata.namespace
    kv = await store.find(ACCOUNTS, namespace, name, not_older_than=RECENT)
    if kv is None and name == DEFAULT:
        # Every namespace has it; who is first need not wait for the controller that makes it.
        made = ServiceAccount(metadata=_identity(namespace))
        try:
            kv = await store.create(ACCOUNTS, made)
        except errors.AlreadyExists:
            kv = await store.find(ACCOUNTS, namespace, name)
    if kv is None:
        cause = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise storage.forbidden(PODS, pod.metadata.name, cause)
    return objects.parsed(kv)


def _identity(namespace: str) -> ObjectMeta:
    return ObjectMeta(
        name=DEFAULT,
        namespace=namespace,
        uid=meta.new_uid(),
        creation_timestamp=meta.timestamp(meta.now()),
    )


@functools.lru_cache(maxsize=256)
def _filled(
    name: str, pulls: tuple[LocalObjectReference, ...], mounted: bool
) -> Callable[[PodSpec], PodSpec]:
    """What fills an account in; one function per account, so that pods of a template share what it makes."""

    def fill(spec: PodSpec) -> PodSpec:
        spec = structs.replace(
            spec,
            service_account_name=name,
            service_account=name,
            image_pull_secrets=spec.image_pull_secrets or pulls,
        )
        return _mounted(spec) if mounted else spec

    return memo.by_identity(fill)


def _mounted(spec: PodSpec) -> PodSpec:
    known = next((v.name for v in spec.volumes if v.name.startswith(PREFIX)), "")
    name = known or PREFIX + _suffix(spec)
    mount = {"name": name, "readOnly": True, "mountPath": PATH}

    def with_mount(container: Container) -> Container:
        if any(_path(found) == PATH for found in container.volume_mounts):
            return container
        return structs.replace(container, volume_mounts=(*container.volume_mounts, mount))

    containers = tuple(map(with_mount, spec.containers))
    first = tuple(map(with_mount, spec.init_containers))
    if (containers, first) == (spec.containers, spec.init_containers):
        return spec
    volumes = spec.volumes if known else (*spec.volumes, Volume(name=name, unknown=_SOURCES))
    return structs.replace(spec, containers=containers, init_containers=first, volumes=volumes)


def _path(mount: Json) -> Json:
    return mount.get("mountPath") if isinstance(mount, Mapping) else None


def _suffix(spec: PodSpec) -> str:
    # Few fields tell templates apart well enough; that two of them share a name does no harm.
    words = [spec.service_account_name, *(f"{c.name}={c.image}" for c in spec.containers)]
    digest = hashlib.sha256("\n".join(words).encode(errors="replace")).digest()
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:5])
