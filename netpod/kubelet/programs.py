"""A container of a pod -> what an OCI runtime is to start.

Source: kubernetes pkg/kubelet/kuberuntime generateContainerConfig; containerd cri for what an image leaves open.
"""

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from netpod.api.cri import CAPABILITIES, Mount, Program
from netpod.api.pod import Container, Pod
from netpod.kubelet import env as environments
from netpod.kubelet.image import Image
from netpod.kubelet.refusal import CannotStart, misconfigured
from netpod.kubelet.volumes import Volumes


def compile(
    pod: Pod, container: Container, env: Mapping[str, str], volumes: Volumes, image: Image | None
) -> Program:
    """Return the program.

    Args:
        pod: Its security context holds where the container says nothing.
        container: What its author wrote.
        env: Its environment, for $(NAME) in command and arguments.
        volumes: The pod's, prepared.
        image: None for a program of the machine.

    Raises:
        CannotStart: there is nothing to run, or a user or a mount cannot be had.
    """
    command = [environments.expand(it, env) for it in container.command]
    args = [environments.expand(it, env) for it in container.args]
    if image is not None and not command:
        command = list(image.entrypoint)
        args = args or list(image.command)
    if not command and not args:
        raise CannotStart("CreateContainerError", "no command specified")
    own = _context(container.security_context)
    shared = _context(pod.spec.security_context)
    uid, gid, groups = _user({**shared, **own}, shared, image)
    dropped = (own.get("capabilities") or {}).get("drop") or ()
    return Program(
        rootfs=str(image.rootfs) if image is not None else "",
        read_only=image is None or bool(own.get("readOnlyRootFilesystem")),
        argv=(*command, *args),
        working_dir=container.working_dir or (image.working_dir if image is not None else ""),
        uid=uid,
        gid=gid,
        groups=groups,
        drop=_drop(dropped),
        mounts=_mounts(container, env, volumes),
        stdin=container.stdin,
        stdin_once=container.stdin and container.stdin_once and not container.tty,
        tty=container.tty,
        message_path=container.termination_message_path or "/dev/termination-log",
        message_from_log=container.termination_message_policy == "FallbackToLogsOnError",
    )


def _context(context: object) -> dict[str, Any]:
    return dict(context) if isinstance(context, Mapping) else {}


def _drop(names: Sequence[str]) -> tuple[str, ...]:
    if "ALL" in names:
        return CAPABILITIES
    return tuple(name if name.startswith("CAP_") else f"CAP_{name}" for name in names)


def _user(
    context: Mapping[str, Any], shared: Mapping[str, Any], image: Image | None
) -> tuple[int, int, tuple[int, ...]]:
    uid, gid, groups = image.user() if image is not None else (0, 0, ())
    if context.get("runAsUser") is not None:
        uid = int(context["runAsUser"])
        gid = 0 if image is None else gid
    if context.get("runAsGroup") is not None:
        gid = int(context["runAsGroup"])
    if context.get("runAsNonRoot") and uid == 0:
        raise misconfigured("container has runAsNonRoot and image will run as root")
    more = [int(it) for it in shared.get("supplementalGroups") or ()]
    if shared.get("fsGroup") is not None:
        more.append(int(shared["fsGroup"]))
    return uid, gid, (*groups, *more)


def _mounts(container: Container, env: Mapping[str, str], volumes: Volumes) -> tuple[Mount, ...]:
    found = []
    for item in container.volume_mounts:
        wanted = _context(item)
        name, path = str(wanted.get("name", "")), str(wanted.get("mountPath", ""))
        below = str(wanted.get("subPath", ""))
        if wanted.get("subPathExpr"):
            below = environments.expand(str(wanted["subPathExpr"]), env)
        source = volumes.path(name, below)
        found.append(
            Mount(
                source=str(source),
                destination=posixpath.normpath(posixpath.join("/", path)),
                read_only=bool(wanted.get("readOnly")) or volumes.is_read_only(name),
            )
        )
    return tuple(found)
