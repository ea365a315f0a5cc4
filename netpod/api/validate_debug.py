"""Rules for ephemeral containers: little that a container may have, and nothing of one that is there changes.

Source: pkg/apis/core/validation/validation.go validateEphemeralContainers, ValidatePodEphemeralContainersUpdate.
"""

from collections.abc import Mapping

from netpod.api import codec, validate_container
from netpod.api.pod import Container, EphemeralContainer, Pod
from netpod.api.validate_errors import Errors, index

PATH = "spec.ephemeralContainers"
MIRROR = "kubernetes.io/config.mirror"
CANNOT = "cannot be set for an Ephemeral Container"
FORBIDDEN = (
    "ports",
    "resources",
    "lifecycle",
    "liveness_probe",
    "readiness_probe",
    "startup_probe",
    "restart_policy",
)


def debug(errors: Errors, new: Pod, old: Pod) -> None:
    """Check the ephemeral containers of a pod against those it had."""
    if MIRROR in old.metadata.annotations:
        errors.forbidden("", "static pods do not support ephemeral containers")
        return
    spec = new.spec
    volumes = {volume.name for volume in spec.volumes}
    names = {c.name for c in (*spec.containers, *spec.init_containers)}
    targets = {c.name for c in spec.containers}
    for position, container in enumerate(spec.ephemeral_containers):
        at = index(PATH, position)
        validate_container.container(errors, container, at, volumes, names)
        target = container.target_container_name
        if target and target not in targets:
            errors.not_found(f"{at}.targetContainerName", target)
        _allowed(errors, container, at)
    found = {container.name: container for container in spec.ephemeral_containers}
    for before in old.spec.ephemeral_containers:
        if before.name not in found:
            errors.forbidden(
                PATH, f'existing ephemeral containers "{before.name}" may not be removed'
            )
        elif found[before.name] != before:
            errors.forbidden(
                PATH, f'existing ephemeral containers "{before.name}" may not be changed'
            )


def _allowed(errors: Errors, container: EphemeralContainer, path: str) -> None:
    empty = Container()
    for name in FORBIDDEN:
        if getattr(container, name) != getattr(empty, name):
            errors.forbidden(f"{path}.{codec.json_name(name)}", CANNOT)
    for position, mount in enumerate(container.volume_mounts):
        fields = mount if isinstance(mount, Mapping) else {}
        for name in ("subPath", "subPathExpr"):
            if fields.get(name):
                errors.forbidden(f"{index(f'{path}.volumeMounts', position)}.{name}", CANNOT)
