"""Rules for the sources of a pod's volumes and for where they are mounted.

Source: pkg/apis/core/validation/validation.go validateVolumeSource, ValidateVolumeMounts.
"""

import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from netpod.api import quantity, shapes, shapes_pod, validate_env, validate_names
from netpod.api.meta import Json
from netpod.api.pod import Volume
from netpod.api.validate_errors import Errors, index

Source = Mapping[str, Any]

_HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
_MOUNT_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_MAX_MODE = 0o777
_BAD_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_SHORTEST_TOKEN, _LONGEST_TOKEN = 600, 1 << 32


def volumes(errors: Errors, listed: Sequence[Volume], path: str) -> set[str]:
    """Check the volumes and return the names of those that are right: only these can be mounted."""
    names: set[str] = set()
    for position, volume in enumerate(listed):
        at = index(path, position)
        before = len(errors.found)
        _sources(errors, volume, at)
        if not volume.name:
            errors.required(f"{at}.name")
        else:
            errors.each(f"{at}.name", volume.name, validate_names.dns1123_label(volume.name))
        if volume.name in names:
            errors.duplicate(f"{at}.name", volume.name)
        if len(errors.found) == before:
            names.add(volume.name)
    return names


def _sources(errors: Errors, volume: Volume, path: str) -> None:
    sources = {name: it for name, it in volume.unknown.items() if it is not None}
    if not sources:
        errors.required(path, "must specify a volume type")
        return
    for position, (name, source) in enumerate(sources.items()):
        at = f"{path}.{name}"
        if not shapes.is_shaped(errors, source, shapes_pod.SOURCES.get(name, {}), at):
            return
        if position:
            errors.forbidden(at, "may not specify more than 1 volume type")
        elif name in _CHECKS:
            _CHECKS[name](errors, source, at)


def host_path(errors: Errors, source: Source, path: str) -> None:
    """Check a path of the node."""
    written = source.get("path") or ""
    if not written:
        errors.required(f"{path}.path")
        return
    _no_backsteps(errors, written, f"{path}.path")
    kind = source.get("type") or ""
    if kind not in _HOST_PATH_TYPES:
        errors.supported(f"{path}.type", kind, _HOST_PATH_TYPES)


def _empty_dir(errors: Errors, source: Source, path: str) -> None:
    size = source.get("sizeLimit")
    if size is not None and quantity.parse(size) < 0:
        errors.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")


def _config_map(errors: Errors, source: Source, path: str) -> None:
    if not source.get("name"):
        errors.required(f"{path}.name")
    _mode(errors, source.get("defaultMode"), f"{path}.defaultMode")
    _items(errors, source, path)


def _secret(errors: Errors, source: Source, path: str) -> None:
    if not source.get("secretName"):
        errors.required(f"{path}.secretName")
    _mode(errors, source.get("defaultMode"), f"{path}.defaultMode")
    _items(errors, source, path)


def _downward(errors: Errors, source: Source, path: str) -> None:
    _mode(errors, source.get("defaultMode"), f"{path}.defaultMode")
    for item in source.get("items") or ():
        _downward_item(errors, item, path)


def _downward_item(errors: Errors, item: Source, path: str) -> None:
    """Upstream names the volume, not the item."""
    written = item.get("path") or ""
    if not written:
        errors.required(f"{path}.path")
    _local_path(errors, written, f"{path}.path")
    field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        validate_env.field(errors, field, validate_env.VOLUME_FIELDS, f"{path}.fieldRef")
        if resource is not None:
            detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
            errors.invalid(path, "resource", detail)
    elif resource is not None:
        validate_env.resource(errors, resource, f"{path}.resourceFieldRef", of_volume=True)
    else:
        errors.required(path, "one of fieldRef and resourceFieldRef is required")
    _mode(errors, item.get("mode"), f"{path}.mode")


def _projected(errors: Errors, source: Source, path: str) -> None:
    _mode(errors, source.get("defaultMode"), f"{path}.defaultMode")
    for position, projection in enumerate(source.get("sources") or ()):
        at = index(f"{path}.sources", position)
        named = [(name, it) for name, it in projection.items() if it is not None]
        for number, (name, it) in enumerate(named):
            if number:
                errors.forbidden(at, "may not specify more than 1 volume type")
                break
            _projection(errors, name, it, path, at)
        if not named:
            errors.required(at, "must specify a volume type")


def _projection(errors: Errors, name: str, source: Source, path: str, at: str) -> None:
    if name in ("secret", "configMap"):
        if not source.get("name"):
            errors.required(f"{at}.{name}.name")
        _items(errors, source, f"{at}.{name}")
    elif name == "downwardAPI":
        for item in source.get("items") or ():
            _downward_item(errors, item, f"{at}.downwardAPI")
    elif name == "serviceAccountToken":
        seconds = source.get("expirationSeconds")
        where = f"{at}.serviceAccountToken.expirationSeconds"
        if seconds is not None and seconds < _SHORTEST_TOKEN:
            errors.invalid(where, seconds, "may not specify a duration less than 10 minutes")
        elif seconds is not None and seconds > _LONGEST_TOKEN:
            detail = "may not specify a duration larger than 2^32 seconds"
            errors.invalid(where, seconds, detail)
        written = source.get("path") or ""
        if not written:
            errors.required(f"{path}.path")
        else:
            _inside(errors, written, f"{path}.path")


def _claim(errors: Errors, source: Source, path: str) -> None:
    if not source.get("claimName"):
        errors.required(f"{path}.claimName")


def _nfs(errors: Errors, source: Source, path: str) -> None:
    if not source.get("server"):
        errors.required(f"{path}.server")
    written = source.get("path") or ""
    if not written:
        errors.required(f"{path}.path")
    if not written.startswith("/"):
        errors.invalid(f"{path}.path", written, "must be an absolute path")


def _csi(errors: Errors, source: Source, path: str) -> None:
    driver_name(errors, source.get("driver") or "", f"{path}.driver")


def driver_name(errors: Errors, name: str, path: str) -> None:
    """Check the name of a CSI driver."""
    if not name:
        errors.required(path)
    if len(name) > 63:
        errors.too_long(path, 63)
    errors.each(path, name, validate_names.dns1123_subdomain(name.lower()))


def _items(errors: Errors, source: Source, path: str) -> None:
    for position, item in enumerate(source.get("items") or ()):
        at = index(f"{path}.items", position)
        if not item.get("key"):
            errors.required(f"{at}.key")
        if not item.get("path"):
            errors.required(f"{at}.path")
        _local_path(errors, item.get("path") or "", f"{at}.path")
        _mode(errors, item.get("mode"), f"{at}.mode")


def _mode(errors: Errors, mode: int | None, path: str) -> None:
    if mode is not None and not 0 <= mode <= _MAX_MODE:
        errors.invalid(path, mode, _BAD_MODE)


def _local_path(errors: Errors, written: str, path: str) -> None:
    """Check a path in a volume, which must not lead out of it nor look like the kubelet's own names."""
    _inside(errors, written, path)
    if written.startswith("..") and not written.startswith("../"):
        errors.invalid(path, written, "must not start with '..'")


def _inside(errors: Errors, written: str, path: str) -> None:
    if posixpath.isabs(written):
        errors.invalid(path, written, "must be a relative path")
    _no_backsteps(errors, written, path)


def _no_backsteps(errors: Errors, written: str, path: str) -> None:
    if ".." in written.split("/"):
        errors.invalid(path, written, "must not contain '..'")


_CHECKS: Mapping[str, Callable[[Errors, Source, str], None]] = {
    "configMap": _config_map,
    "csi": _csi,
    "downwardAPI": _downward,
    "emptyDir": _empty_dir,
    "hostPath": host_path,
    "nfs": _nfs,
    "persistentVolumeClaim": _claim,
    "projected": _projected,
    "secret": _secret,
}


def mounts(errors: Errors, listed: Sequence[Json], path: str, names: set[str]) -> None:
    """Check a container's mounts at a path, `spec.containers[0].volumeMounts`, of volumes of these names."""
    seen: set[str] = set()
    for position, mount in enumerate(listed):
        at = index(path, position)
        name, mount_path = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errors.required(f"{at}.name")
        if name not in names:
            errors.not_found(f"{at}.name", name)
        if not mount_path:
            errors.required(f"{at}.mountPath")
        if mount_path in seen:
            errors.invalid(f"{at}.mountPath", mount_path, "must be unique")
        seen.add(mount_path)
        # From here on upstream names the list.
        below, pattern = mount.get("subPath") or "", mount.get("subPathExpr") or ""
        if below:
            _inside(errors, below, f"{path}.subPath")
        if pattern:
            if below:
                detail = "subPathExpr and subPath are mutually exclusive"
                errors.invalid(f"{path}.subPathExpr", pattern, detail)
            _inside(errors, pattern, f"{path}.subPathExpr")
        propagation = mount.get("mountPropagation")
        if propagation is not None:
            errors.supported(f"{path}.mountPropagation", propagation, _MOUNT_PROPAGATIONS)
