"""What a pod's volumes hold: ConfigMaps, Secrets, the pod's own fields, a token; read from the API.

Source: kubernetes pkg/volume/configmap, secret, downwardapi, projected; their events' words.
"""

from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from netpod.api import registry
from netpod.api.core import ConfigMap, Secret, ServiceAccount
from netpod.api.pod import Pod, Volume
from netpod.api.storage import PersistentVolume, PersistentVolumeClaim
from netpod.client.rest import Client
from netpod.errors import ApiError, MethodNotAllowed, NotFound
from netpod.kubelet import env as environments
from netpod.kubelet import volumes
from netpod.kubelet.refusal import CannotStart
from netpod.kubelet.volumes import WRITTEN, File, Volumes

DEFAULT_MODE = 0o644
TOKEN_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a pod's fields and paths are resolved with.

    Attributes:
        directory: Where the pod's volumes are.
        allowed: Directories that a hostPath may be below.
        claimed: Directory below which the cluster makes volumes for claims.
        lenient: Nothing but stand-ins runs in the pod: a volume that cannot be had is empty instead.
    """

    directory: Path
    pod_ips: tuple[str, ...] = ()
    host_ips: tuple[str, ...] = ()
    allowed: tuple[Path, ...] = ()
    claimed: Path | None = None
    lenient: bool = False


async def prepare(client: Client, pod: Pod, facts: Facts) -> Volumes:
    """Make a pod's volumes, or bring them up to date.

    Raises:
        CannotStart: one cannot be had; the message names it as upstream's FailedMount does.
    """
    paths: dict[str, Path] = {}
    read_only: set[str] = set()
    group = _group(pod)
    for volume in pod.spec.volumes:
        source = volume.unknown
        kind = volumes.kind_of(source) or "emptyDir"
        if facts.lenient and is_token(volume):
            # Nobody reads it, and a token is a request.
            continue
        try:
            if kind in WRITTEN:
                path = facts.directory / volume.name
                files = await _files(client, pod, kind, source[kind] or {}, facts)
                volumes.write(path, files, group=group)
                read_only.add(volume.name)
            elif kind in ("persistentVolumeClaim", "ephemeral"):
                path = await _claimed(client, pod, volume, facts, group)
                if (source[kind] or {}).get("readOnly"):
                    read_only.add(volume.name)
            elif kind == "hostPath" and (facts.allowed or not facts.lenient):
                path = volumes.host_path(source[kind] or {}, facts.allowed)
            elif kind == "emptyDir" or facts.lenient:
                path = volumes.own_directory(facts.directory, volume.name, group=group)
            else:
                raise CannotStart("FailedMount", f"{kind} volumes are not supported")
        except (CannotStart, ApiError) as error:
            if isinstance(error, ApiError) and error.retryable:
                raise
            message = f'MountVolume.SetUp failed for volume "{volume.name}" : {error}'
            raise CannotStart("FailedMount", message) from error
        paths[volume.name] = path
    return Volumes(paths=paths, read_only=frozenset(read_only))


async def _claimed(
    client: Client, pod: Pod, volume: Volume, facts: Facts, group: int | None
) -> Path:
    """Return the directory of the volume that a pod's claim is bound to."""
    source = volume.unknown.get("persistentVolumeClaim") or {}
    namespace = pod.metadata.namespace
    name = str(source.get("claimName") or f"{pod.metadata.name}-{volume.name}")
    try:
        claim = await client.get(PersistentVolumeClaim, name, namespace)
    except NotFound as error:
        raise CannotStart("FailedMount", f'persistentvolumeclaim "{name}" not found') from error
    if claim.status.phase != "Bound":
        raise CannotStart("FailedMount", f"PVC {namespace}/{name} is not bound")
    try:
        found = await client.get(PersistentVolume, claim.spec.volume_name)
    except NotFound as error:
        text = f'persistentvolume "{claim.spec.volume_name}" not found'
        raise CannotStart("FailedMount", text) from error
    kind = volumes.kind_of(found.spec.unknown)
    inner = found.spec.unknown.get(kind) or {}
    path = Path(str(inner.get("path", "")))
    if facts.claimed is not None and path.parent == facts.claimed:
        return volumes.own_directory(facts.claimed, path.name, group=group)
    if facts.lenient and not facts.allowed:
        return volumes.own_directory(facts.directory, volume.name, group=group)
    if kind == "local":
        return volumes.host_path({**inner, "type": "Directory"}, facts.allowed)
    if kind == "hostPath":
        return volumes.host_path(inner, facts.allowed)
    raise CannotStart("FailedMount", f"{kind} volumes are not supported")


def changes(among: Iterable[Volume]) -> set[tuple[str, str]]:
    """Return kind and name of every object whose change changes one of a pod's volumes."""
    found: set[tuple[str, str]] = set()
    for part in _parts(among):
        if part.get("configMap"):
            found.add(("ConfigMap", _name(part["configMap"])))
        if part.get("secret"):
            found.add(("Secret", _name(part["secret"])))
    return found


def tells_of_pod(among: Iterable[Volume]) -> bool:
    """Whether a volume holds fields of the pod itself."""
    return any(part.get("downwardAPI") for part in _parts(among))


def _parts(among: Iterable[Volume]) -> Iterator[Mapping[str, Any]]:
    """What volumes are made from, one by one."""
    for volume in among:
        source = volume.unknown
        yield from (
            (source["projected"].get("sources") or ()) if source.get("projected") else (source,)
        )


def is_token(volume: Volume) -> bool:
    """Whether a volume holds a token."""
    parts = (volume.unknown.get("projected") or {}).get("sources") or ()
    return any("serviceAccountToken" in part for part in parts)


def _group(pod: Pod) -> int | None:
    context = pod.spec.security_context
    found = context.get("fsGroup") if isinstance(context, Mapping) else None
    return int(found) if found is not None else None


def _name(source: Mapping[str, Any]) -> str:
    return str(source.get("name") or source.get("secretName") or "")


async def _files(
    client: Client, pod: Pod, kind: str, source: Mapping[str, Any], facts: Facts
) -> dict[str, File]:
    mode = source.get("defaultMode")
    mode = DEFAULT_MODE if mode is None else int(mode)
    parts = source.get("sources") or () if kind == "projected" else ({kind: source},)
    files: dict[str, File] = {}
    for part in parts:
        for what, inner in part.items():
            files |= await _part(client, pod, what, inner or {}, mode, facts)
    return files


async def _part(
    client: Client, pod: Pod, kind: str, source: Mapping[str, Any], mode: int, facts: Facts
) -> dict[str, File]:
    if kind in ("configMap", "secret"):
        return await _keys(client, pod.metadata.namespace, kind, source, mode)
    if kind == "downwardAPI":
        return {
            str(item["path"]): File(_field(pod, item, facts).encode(), _mode(item, mode))
            for item in source.get("items") or ()
        }
    if kind == "serviceAccountToken":
        return await _token(client, pod, source, mode)
    raise CannotStart("FailedMount", f"{kind} cannot be projected")


async def _keys(
    client: Client, namespace: str, kind: str, source: Mapping[str, Any], mode: int
) -> dict[str, File]:
    name = _name(source)
    optional = bool(source.get("optional"))
    try:
        data = await _data(client, namespace, kind, name)
    except NotFound as error:
        if optional:
            return {}
        raise CannotStart("FailedMount", f'{kind.lower()} "{name}" not found') from error
    items = source.get("items")
    if not items:
        return {key: File(value, mode) for key, value in data.items()}
    files = {}
    for item in items:
        if item["key"] in data:
            files[str(item["path"])] = File(data[item["key"]], _mode(item, mode))
        elif not optional:
            message = f"references non-existent {kind} key: {item['key']}"
            raise CannotStart("FailedMount", message)
    return files


async def _data(client: Client, namespace: str, kind: str, name: str) -> dict[str, bytes]:
    if kind == "configMap":
        found = await client.get(ConfigMap, name, namespace)
        plain = {key: value.encode() for key, value in found.data.items()}
        return plain | {key: b64decode(value) for key, value in found.binary_data.items()}
    secret = await client.get(Secret, name, namespace)
    return {key: b64decode(value) for key, value in secret.data.items()}


def _field(pod: Pod, item: Mapping[str, Any], facts: Facts) -> str:
    if "resourceFieldRef" in item:
        return environments.resource(pod, None, item["resourceFieldRef"])
    path = str((item.get("fieldRef") or {}).get("fieldPath", ""))
    return environments.field(pod, path, facts.pod_ips, facts.host_ips) or ""


def _mode(item: Mapping[str, Any], default: int) -> int:
    return default if item.get("mode") is None else int(item["mode"])


async def _token(client: Client, pod: Pod, source: Mapping[str, Any], mode: int) -> dict[str, File]:
    """A token of the pod's ServiceAccount; nothing where the API server issues none."""
    account = pod.spec.service_account_name or "default"
    audience = source.get("audience")
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": [audience] if audience else [],
            "expirationSeconds": int(source.get("expirationSeconds") or TOKEN_SECONDS),
            "boundObjectRef": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": pod.metadata.name,
                "uid": pod.metadata.uid,
            },
        },
    }
    path = registry.of(ServiceAccount).path(pod.metadata.namespace, account, "token")
    try:
        answer = orjson.loads(
            await client.raw("POST", path, orjson.dumps(request), "application/json")
        )
    except (NotFound, MethodNotAllowed):
        return {}
    token = str(answer.get("status", {}).get("token", ""))
    return {str(source["path"]): File(token.encode(), mode)} if token else {}
