"""What to start for a container of a pod: which program, with which environment, on which ports."""

import hashlib
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from netpod.api import codec, cri
from netpod.api.core import ConfigMap, Secret
from netpod.api.pod import Container, ContainerPort, Pod, Probe
from netpod.client.rest import Client
from netpod.errors import NetpodError, NotFound
from netpod.kubelet import probe as probes

ECHO = "netpod.dev/echo"
HOST = "netpod.dev/host"
BUILT_IN = frozenset({ECHO, "netpod.dev/dns", "netpod.dev/ingress"})
_REFERENCE = re.compile(r"\$(?:\$|\(([^()]+)\))")


class CannotStart(NetpodError):
    """A container cannot be started; `reason` is what its waiting state says.

    Attributes:
        reason: Upstream's word, e.g. ErrImagePull, CreateContainerConfigError.
        event: Reason of the event that tells of it.
    """

    retryable = True

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.event = "Failed"


@dataclass(frozen=True, slots=True)
class Program:
    """What runs.

    Attributes:
        app: Name the shim knows it by.
        stands_in: It takes the place of an image that is not here.
    """

    app: str
    stands_in: bool


def repository(image: str) -> str:
    """Return an image's name without tag and digest."""
    name = image.partition("@")[0]
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name


def choose(container: Container, *, stand_in: bool, completes: bool) -> Program:
    """Decide what runs for a container.

    Args:
        container: Its image decides.
        stand_in: Whether images that are not here are stood in for.
        completes: It is an init container: what stands in for it does nothing and ends well.

    Raises:
        CannotStart: nothing can.
    """
    name = repository(container.image)
    if name == HOST:
        message = f"cannot run {container.image}: host programs need an OCI runtime, which this version lacks"
        raise CannotStart("CreateContainerError", message)
    if name in BUILT_IN:
        return Program(name, stands_in=False)
    if not stand_in:
        message = f'Failed to pull image "{container.image}": it is not on this machine'
        raise CannotStart("ErrImagePull", message)
    return Program(cri.COMPLETES if completes else ECHO, stands_in=True)


def ports(container: Container, program: Program) -> tuple[ContainerPort, ...]:
    """Return the ports the program listens on: the declared ones, and for a stand-in those its probes ask."""
    declared = {(port.protocol or "TCP", port.container_port): port for port in container.ports}
    if program.stands_in:
        for asked in (container.startup_probe, container.liveness_probe, container.readiness_probe):
            number = _probe_port(asked, container.ports)
            if number:
                extra = ContainerPort(container_port=number, protocol="TCP")
                declared.setdefault(("TCP", number), extra)
    return tuple(
        replace(port, protocol=protocol, unknown={}) for (protocol, _), port in declared.items()
    )


def _probe_port(probe: Probe | None, declared: tuple[ContainerPort, ...]) -> int:
    if probe is None:
        return 0
    action = probe.http_get or probe.tcp_socket
    if action is not None and not action.host:
        try:
            return probes.resolve(action.port, declared)
        except ValueError:
            return 0
    return 0


def spec_hash(container: Container) -> str:
    """Return a hash of the container's spec: with another one, the container is started anew."""
    text = orjson.dumps(codec.encode(container), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:16]


async def environment(
    client: Client, pod: Pod, container: Container, *, pod_ip: str, host_ip: str
) -> dict[str, str]:
    """Return the container's environment, sources read and $(NAME) expanded.

    Raises:
        CannotStart: a source is missing and not optional.
    """
    env: dict[str, str] = {"HOSTNAME": pod.spec.hostname or pod.metadata.name}
    for source in container.env_from:
        env |= await _whole_source(client, pod.metadata.namespace, source or {})
    for variable in container.env:
        if variable.value_from is None:
            env[variable.name] = expand(variable.value, env)
            continue
        value = await _source(client, pod, variable.value_from, pod_ip, host_ip)
        if value is not None:
            env[variable.name] = value
    return env


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace $(NAME) by its value; $$ is a dollar sign, an unknown name stays as written.

    Source: kubernetes third_party/forked/golang/expansion/expand.go.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else env.get(name, match.group(0))

    return _REFERENCE.sub(value, text)


async def _whole_source(
    client: Client, namespace: str, source: Mapping[str, Any]
) -> dict[str, str]:
    prefix = source.get("prefix", "")
    for kind in ("configMapRef", "secretRef"):
        if kind in source:
            data = await _data(client, namespace, kind, source[kind])
            return {f"{prefix}{name}": value for name, value in data.items()}
    return {}


async def _source(
    client: Client, pod: Pod, source: Mapping[str, Any], pod_ip: str, host_ip: str
) -> str | None:
    if "fieldRef" in source:
        return _field(pod, str(source["fieldRef"].get("fieldPath", "")), pod_ip, host_ip)
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if kind not in source:
            continue
        reference = source[kind]
        data = await _data(client, pod.metadata.namespace, kind, reference)
        key = reference.get("key", "")
        if key in data:
            return data[key]
        if not reference.get("optional"):
            message = (
                f"couldn't find key {key} in {kind.removesuffix('KeyRef')} {reference.get('name')}"
            )
            raise CannotStart("CreateContainerConfigError", message)
    return None


async def _data(
    client: Client, namespace: str, kind: str, reference: Mapping[str, Any]
) -> dict[str, str]:
    name = str(reference.get("name", ""))
    try:
        if kind.startswith("configMap"):
            return dict((await client.get(ConfigMap, name, namespace)).data)
        secret = await client.get(Secret, name, namespace)
        return {
            key: b64decode(value).decode(errors="replace") for key, value in secret.data.items()
        }
    except NotFound as error:
        if reference.get("optional"):
            return {}
        raise CannotStart("CreateContainerConfigError", str(error)) from error


def _field(pod: Pod, path: str, pod_ip: str, host_ip: str) -> str | None:
    fields = {
        "metadata.name": pod.metadata.name,
        "metadata.namespace": pod.metadata.namespace,
        "metadata.uid": pod.metadata.uid,
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name,
        "status.podIP": pod_ip,
        "status.podIPs": pod_ip,
        "status.hostIP": host_ip,
        "status.hostIPs": host_ip,
    }
    if path in fields:
        return fields[path]
    match = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if match is None:
        return None
    labelled = pod.metadata.labels if match[1] == "labels" else pod.metadata.annotations
    return labelled.get(match[2], "")
