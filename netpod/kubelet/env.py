"""A container's environment: what its Services are called, what its sources hold, what its author wrote.

    later wins: Services < envFrom < env; $(NAME) in a value means what stands before it

Source: kubernetes pkg/kubelet/kubelet_pods.go makeEnvironmentVariables, pkg/kubelet/envvars/envvars.go.
"""

import asyncio
import os
import re
import time
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from netpod.api import quantity
from netpod.api.core import ConfigMap, Secret
from netpod.api.meta import Json
from netpod.api.pod import Container, Pod
from netpod.api.service import Service
from netpod.client.rest import Client
from netpod.errors import NetpodError, NotFound, Unavailable
from netpod.kubelet.refusal import misconfigured

_REFERENCE = re.compile(r"\$(?:\$|\(([^()]+)\))")
_MAPPED = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
MASTER = ("default", "kubernetes")
"""The Service that containers of every namespace are told of."""

SHARED_SECONDS = 1.0
"""How long an answer is shared by pods that were there when it was read."""

Addresses = Sequence[str]
"""Of a pod or a node, the primary first."""


class Services:
    """The Services of a namespace: who asks at the same moment shares one answer.

    A container sees each Service that was there before its pod. An answer of a moment ago will do if it was read at a
    revision of the store that has the pod already; so a thousand pods at once need few.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._next: dict[str, asyncio.Future[tuple[Service, ...]]] = {}
        self._busy: dict[str, asyncio.Lock] = {}
        self._known: dict[str, _Known] = {}

    async def of(self, namespace: str, version: str = "") -> tuple[Service, ...]:
        """Return the Services of a namespace.

        Args:
            namespace: Theirs.
            version: Of the pod that asks; "" is now.
        """
        known = self._known.get(namespace)
        if known is not None and time.monotonic() < known.until and _reached(known, version):
            return known.services
        waiting = self._next.get(namespace)
        if waiting is None:
            waiting = asyncio.get_running_loop().create_future()
            self._next[namespace] = waiting
            try:
                async with self._busy.setdefault(namespace, asyncio.Lock()):
                    del self._next[namespace]
                    listing = await self._client.list(Service, namespace)
                    until = time.monotonic() + SHARED_SECONDS
                    known = _Known(listing.items, listing.resource_version, until)
                    self._known[namespace] = known
                    waiting.set_result(listing.items)
            except BaseException as error:
                if not waiting.done():
                    # Whoever shares the answer is not cancelled with us; asking again is well.
                    why = f"cannot list services of {namespace}: interrupted"
                    waiting.set_exception(
                        error if isinstance(error, NetpodError) else Unavailable(why)
                    )
                    waiting.exception()
                raise
            finally:
                if self._next.get(namespace) is waiting:
                    del self._next[namespace]
        return await asyncio.shield(waiting)


@dataclass(frozen=True, slots=True)
class _Known:
    services: tuple[Service, ...]
    version: str
    until: float


def _reached(known: _Known, version: str) -> bool:
    """Whether what is known is as new as a version; revisions of one store grow."""
    both = known.version, version
    return all(it.isdigit() for it in both) and int(known.version) >= int(version)


async def compile(
    client: Client,
    services: Services,
    pod: Pod,
    container: Container,
    *,
    hostname: str,
    pod_ips: Addresses,
    host_ips: Addresses,
) -> dict[str, str]:
    """Return the container's environment, sources read and $(NAME) expanded.

    Raises:
        CannotStart: a source is missing and not optional.
    """
    env: dict[str, str] = {"HOSTNAME": hostname}
    linked = service_variables(await _linked(services, pod))
    for source in container.env_from:
        env |= await _whole_source(client, pod.metadata.namespace, source or {})
    for variable in container.env:
        if variable.value_from is None:
            env[variable.name] = expand(variable.value, {**linked, **env})
            continue
        value = await _source(client, pod, container, variable.value_from, pod_ips, host_ips)
        if value is not None:
            env[variable.name] = value
    return {**linked, **env}


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace $(NAME) by its value; $$ is a dollar sign, an unknown name stays as written.

    Source: kubernetes third_party/forked/golang/expansion/expand.go.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else env.get(name, match.group(0))

    return _REFERENCE.sub(value, text)


def service_variables(services: Iterable[Service]) -> dict[str, str]:
    """Return the variables that tell of Services: Docker's links, and NAME_SERVICE_HOST and _PORT."""
    env: dict[str, str] = {}
    for service in services:
        spec = service.spec
        if not spec.cluster_ip or spec.cluster_ip == "None" or not spec.ports:
            continue
        name = service.metadata.name.upper().replace("-", "_")
        env[f"{name}_SERVICE_HOST"] = spec.cluster_ip
        env[f"{name}_SERVICE_PORT"] = str(spec.ports[0].port)
        host = f"[{spec.cluster_ip}]" if ":" in spec.cluster_ip else spec.cluster_ip
        for number, port in enumerate(spec.ports):
            if port.name:
                suffix = port.name.upper().replace("-", "_")
                env[f"{name}_SERVICE_PORT_{suffix}"] = str(port.port)
            protocol = (port.protocol or "TCP").lower()
            url = f"{protocol}://{host}:{port.port}"
            prefix = f"{name}_PORT_{port.port}_{protocol.upper()}"
            if number == 0:
                env[f"{name}_PORT"] = url
            env[prefix] = url
            env[f"{prefix}_PROTO"] = protocol
            env[f"{prefix}_PORT"] = str(port.port)
            env[f"{prefix}_ADDR"] = spec.cluster_ip
    return env


def field(pod: Pod, path: str, pod_ips: Addresses, host_ips: Addresses) -> str | None:
    """Value of a field of the pod that the downward API offers; None for one it does not."""
    fields = {
        "metadata.name": pod.metadata.name,
        "metadata.namespace": pod.metadata.namespace,
        "metadata.uid": pod.metadata.uid,
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name,
        "status.podIP": "".join(pod_ips[:1]),
        "status.podIPs": ",".join(pod_ips),
        "status.hostIP": "".join(host_ips[:1]),
        "status.hostIPs": ",".join(host_ips),
        "metadata.labels": _lines(pod.metadata.labels),
        "metadata.annotations": _lines(pod.metadata.annotations),
    }
    if path in fields:
        return fields[path]
    match = _MAPPED.fullmatch(path)
    if match is None:
        return None
    labelled = pod.metadata.labels if match[1] == "labels" else pod.metadata.annotations
    return labelled.get(match[2], "")


def resource(pod: Pod, own: Container | None, source: Mapping[str, Any]) -> str:
    """Value of a resourceFieldRef: a container's limit or request in units of its divisor, rounded up.

    Raises:
        CannotStart: there is no such container or resource.
    """
    name = source.get("containerName", "")
    found = own
    if name:
        everything = (*pod.spec.init_containers, *pod.spec.containers)
        found = next((item for item in everything if item.name == name), None)
    kind, _, what = str(source.get("resource", "")).partition(".")
    if found is None or kind not in ("limits", "requests"):
        raise misconfigured(f"container {name} not found" if name else f"unsupported {kind}")
    resources = found.resources
    amount = getattr(resources, kind).get(what, 0)
    if kind == "requests" and not amount:
        amount = resources.limits.get(what, 0)
    if kind == "limits" and not amount:
        amount = _allocatable(what)
    divisor = quantity.parse(source.get("divisor") or 0) or Fraction(1)
    return str(-(-quantity.parse(amount) // divisor))


def _allocatable(what: str) -> int | str:
    """What a container without limit could have: all of the machine."""
    if what == "cpu":
        return os.cpu_count() or 1
    if what == "memory":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 0


def _lines(values: Mapping[str, str]) -> str:
    def quoted(text: str) -> str:
        for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n")):
            text = text.replace(plain, escaped)
        return text

    return "\n".join(f'{name}="{quoted(value)}"' for name, value in sorted(values.items()))


async def _linked(services: Services, pod: Pod) -> list[Service]:
    namespace, name = MASTER
    own = pod.metadata.namespace
    links = pod.spec.enable_service_links is not False
    version = pod.metadata.resource_version
    master = [it for it in await services.of(namespace, version) if it.metadata.name == name]
    if not links:
        return master
    mine = await services.of(own, version)
    named = {it.metadata.name for it in mine}
    return [*(it for it in master if it.metadata.name not in named), *mine]


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
    client: Client,
    pod: Pod,
    container: Container,
    source: Json,
    pod_ips: Addresses,
    host_ips: Addresses,
) -> str | None:
    assert isinstance(source, Mapping), "validated"
    if "fieldRef" in source:
        return field(pod, str(source["fieldRef"].get("fieldPath", "")), pod_ips, host_ips)
    if "resourceFieldRef" in source:
        return resource(pod, container, source["resourceFieldRef"])
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if kind not in source:
            continue
        reference = source[kind]
        data = await _data(client, pod.metadata.namespace, kind, reference)
        key = reference.get("key", "")
        if key in data:
            return data[key]
        if not reference.get("optional"):
            what = "ConfigMap" if kind == "configMapKeyRef" else "Secret"
            where = f"{pod.metadata.namespace}/{reference.get('name')}"
            raise misconfigured(f"couldn't find key {key} in {what} {where}")
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
        what = "configmap" if kind.startswith("configMap") else "secret"
        raise misconfigured(f'{what} "{name}" not found') from error
