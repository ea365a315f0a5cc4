"""Subresources that lead beyond the API server: log, exec, attach, portforward of pods; proxy of pods, Services, nodes.

    POD/log, exec, attach, portforward     to the kubelet of the pod's node
    nodes/NAME[:PORT]/proxy/PATH           to that kubelet, any path
    pods/[https:]NAME[:PORT]/proxy/PATH    to the pod's address
    services/[https:]NAME[:PORT]/proxy/PATH  to the address of a ready endpoint; PORT is a number or name of the Service

Source: kubernetes pkg/registry/core/pod/strategy.go (LogLocation, streamLocation, ResourceLocation),
pkg/registry/core/service/storage/storage.go ResourceLocation, pkg/registry/core/node/strategy.go.
"""

import base64
import contextlib
import dataclasses
import ipaddress
import random
from collections.abc import Sequence
from typing import cast
from urllib.parse import parse_qsl, quote, urlencode

import aiohttp
from aiohttp import web

from netpod import errors
from netpod.api import meta, node, registry
from netpod.api.core import Endpoints
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.api.service import Service
from netpod.apiserver import answers, forwarding, objects, status
from netpod.apiserver.dialer import Connector, Target
from netpod.apiserver.routes import Route
from netpod.apiserver.storage import Storage

SUBRESOURCES = frozenset({"log", "exec", "attach", "portforward", "proxy"})
_LOG = ("follow", "previous", "timestamps", "tailLines", "sinceSeconds", "sinceTime", "limitBytes")
_NUMBERS = {"tailLines": 0, "sinceSeconds": 1, "limitBytes": 1}
"""Parameters of a log that are integers, and the smallest allowed."""
_STREAMS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
_BINARY, _BASE64 = "binary.k8s.io", "base64.binary.k8s.io"
_TRUE = ("1", "true", "t")


async def serve(
    request: web.BaseRequest, route: Route, storage: Storage, connector: Connector
) -> web.StreamResponse:
    """Answer an authorized request for one of SUBRESOURCES.

    Raises:
        NotFound: there is no such object.
        BadRequest, Invalid: the request asks for what cannot be.
        Unavailable: whom it concerns does not answer.
    """
    if route.subresource == "proxy":
        return await _proxy(request, route, storage, connector)
    pod = await _pod(storage, route.namespace, route.name)
    query = list(parse_qsl(request.query_string, keep_blank_values=True))
    if route.subresource == "log":
        return await _log(request, pod, query, storage, connector)
    if route.subresource != "portforward":
        container = _container(pod, dict(query).get("container", ""))
    if not pod.spec.node_name:
        raise errors.BadRequest(f"pod {route.name} does not have a host assigned")
    if not forwarding.is_upgrade(request):
        raise errors.BadRequest("Upgrade request required")
    if route.subresource == "portforward":
        wanted = [("port", value) for name, value in query if name == "ports"]
        path = _path("portForward", pod)
    else:
        wanted = [
            (_STREAMS[name], "1")
            for name, value in query
            if name in _STREAMS and value.lower() in _TRUE
        ]
        wanted += [("command", value) for name, value in query if name == "command"]
        path = _path(route.subresource, pod, container)
    kubelet = await _kubelet(storage, pod.spec.node_name)
    return await forwarding.forward(request, connector, kubelet, f"{path}?{urlencode(wanted)}")


async def _log(
    request: web.BaseRequest,
    pod: Pod,
    query: Sequence[tuple[str, str]],
    storage: Storage,
    connector: Connector,
) -> web.StreamResponse:
    container = _container(pod, dict(query).get("container", ""))
    wanted = [(name, value) for name, value in query if name in _LOG and value]
    _check_log(pod.metadata.name, dict(wanted))
    if not pod.spec.node_name:
        return web.Response(status=204, headers={"Cache-Control": answers.CACHE})
    kubelet = await _kubelet(storage, pod.spec.node_name)
    path = f"{_path('containerLogs', pod, container)}?{urlencode(wanted)}"
    answer = connector.http().get(kubelet.url + path, ssl=connector.tls(kubelet) or False)
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    try:
        async with answer as log:
            if log.status != 200:
                raise _told(log.status, (await log.read()).decode(errors="replace").strip())
            if forwarding.is_upgrade(request):
                return await _messages(request, log.content)
            response.enable_chunked_encoding()
            await response.prepare(request)
            async for chunk in log.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
    except forwarding.FAILURES as error:
        if response.prepared:  # the log ends here, and must not look complete
            raise ConnectionResetError("the kubelet's answer was cut short") from error
        raise forwarding.unreachable(kubelet, error) from error


async def _messages(request: web.BaseRequest, log: aiohttp.StreamReader) -> web.StreamResponse:
    """A log as messages of a WebSocket; base64 for who can only read text.

    Source: k8s.io/apiserver pkg/util/wsstream stream.go NewDefaultReaderProtocols.
    """
    socket = web.WebSocketResponse(protocols=(_BINARY, _BASE64), compress=False)
    await socket.prepare(request)
    with contextlib.suppress(ConnectionResetError):
        async for chunk in log.iter_any():
            if socket.ws_protocol == _BASE64:
                await socket.send_str(base64.b64encode(chunk).decode())
            else:
                await socket.send_bytes(chunk)
        await socket.close()
    return socket


def _check_log(pod: str, wanted: dict[str, str]) -> None:
    """Source: pkg/apis/core/validation ValidatePodLogOptions."""
    found = []
    for name, least in _NUMBERS.items():
        text = wanted.get(name)
        if text is None:
            continue
        try:
            number = int(text)
        except ValueError as error:
            raise errors.BadRequest(
                f'strconv.ParseInt: parsing "{text}": invalid syntax'
            ) from error
        if number < least:
            bound = "greater than or equal to 0" if not least else "greater than 0"
            message = f"Invalid value: {number}: must be {bound}"
            cause = errors.FieldError(field=name, reason="FieldValueInvalid", message=message)
            found.append(cause)
    if "sinceSeconds" in wanted and "sinceTime" in wanted:
        message = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
        found.append(errors.FieldError(field="[]", reason="FieldValueForbidden", message=message))
    if "sinceTime" in wanted:
        try:
            meta.parse_timestamp(wanted["sinceTime"])
        except ValueError as error:
            text = wanted["sinceTime"]
            raise errors.BadRequest(
                f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}" as "2006"'
            ) from error
    if found:
        raise status.invalid("PodLogOptions", "", pod, found)


def _told(code: int, text: str) -> errors.ApiError:
    """What a kubelet said as an error of ours."""
    kinds: dict[int, type[errors.ApiError]] = {
        400: errors.BadRequest,
        403: errors.Forbidden,
        404: errors.NotFound,
    }
    return kinds.get(code, errors.ApiError)(text)


def _container(pod: Pod, name: str) -> str:
    """The container meant. Source: pkg/registry/core/pod/strategy.go validateContainer."""
    containers = [item.name for item in pod.spec.containers]
    first = [item.name for item in pod.spec.init_containers]
    debuggers = [item.name for item in pod.spec.ephemeral_containers]
    pod_name = pod.metadata.name
    if name in (*containers, *first, *debuggers) and name:
        return name
    if name:
        raise errors.BadRequest(f"container {name} is not valid for pod {pod_name}")
    if len(containers) == 1 and not first:
        return containers[0]
    names = " ".join((*first, *containers, *debuggers))
    raise errors.BadRequest(
        f"a container name must be specified for pod {pod_name}, choose one of: [{names}]"
    )


def _path(verb: str, pod: Pod, container: str = "") -> str:
    parts = [verb, pod.metadata.namespace, pod.metadata.name, *([container] if container else ())]
    return "/" + "/".join(quote(part, safe="") for part in parts)


async def _proxy(
    request: web.BaseRequest, route: Route, storage: Storage, connector: Connector
) -> web.StreamResponse:
    scheme, name, port = split(route.name)
    named = route._replace(name=name)
    plural = route.resource.plural
    if plural == "nodes":
        target = await _kubelet(storage, name)
        if port:
            target = dataclasses.replace(target, port=_number(port))
    elif plural == "pods":
        target = await _pod_target(storage, named, scheme, port)
    else:
        target = await _service_target(storage, named, scheme, port)
    # The path as it was sent: what is percent-encoded stays so.
    depth = 6 if not route.namespace else 8
    raw = request.rel_url.raw_path
    parts = raw.split("/")
    prefix = "/".join(parts[:depth])
    if len(parts) <= depth:
        if request.method in ("GET", "HEAD") and not forwarding.is_upgrade(request):
            where = f"{raw}/" + (f"?{request.query_string}" if request.query_string else "")
            return web.Response(status=301, headers={"Location": where})
        parts.append("")
    path = "/" + "/".join(parts[depth:])
    if request.rel_url.raw_query_string:
        path += f"?{request.rel_url.raw_query_string}"
    return await forwarding.forward(request, connector, target, path, prefix=prefix)


def split(name: str) -> tuple[str, str, str]:
    """`[SCHEME:]NAME[:PORT]` as (scheme, name, port).

    Source: k8s.io/apimachinery pkg/util/net/port_split.go SplitSchemeNamePort.

    Raises:
        BadRequest: it is something else.
    """
    parts = name.split(":")
    scheme = port = ""
    if len(parts) == 3:
        scheme, name, port = parts
    elif len(parts) == 2:
        name, port = parts
    if len(parts) > 3 or scheme not in ("", "http", "https") or not name:
        raise errors.BadRequest(f'invalid service request "{":".join(parts)}"')
    return scheme, name, port


async def _pod_target(storage: Storage, route: Route, scheme: str, port: str) -> Target:
    pod = await _pod(storage, route.namespace, route.name)
    if not pod.status.pod_ip:
        raise errors.BadRequest("address not allowed")
    declared = [p for container in pod.spec.containers for p in container.ports]
    if not port:
        number = declared[0].container_port if declared else 80
    else:
        named = [p.container_port for p in declared if p.name == port]
        number = named[0] if named else _number(port)
    return outside(pod.status.pod_ip, number, scheme)


async def _service_target(storage: Storage, route: Route, scheme: str, port: str) -> Target:
    services = registry.of(Service)
    kv = await storage.get(services, route.namespace, route.name)
    service = cast(Service, objects.unpack(services, kv))
    ports = service.spec.ports
    if not port and len(ports) == 1:
        chosen = [ports[0].name]
    else:
        chosen = [p.name for p in ports if port and port in (p.name, str(p.port))]
    if not chosen:
        cause = f'no service port "{port}" found for service "{route.name}"'
        raise errors.Unavailable(cause)
    try:
        kv = await storage.get(registry.of(Endpoints), route.namespace, route.name)
    except errors.NotFound:
        raise _no_endpoints(route.name) from None
    found = cast(Endpoints, objects.unpack(registry.of(Endpoints), kv))
    targets = [
        (address.ip, p.port)
        for subset in found.subsets
        for p in subset.ports
        if p.name == chosen[0]
        for address in subset.addresses
    ]
    if not targets:
        raise _no_endpoints(route.name)
    return outside(*random.choice(targets), scheme)


def outside(address: str, port: int, scheme: str) -> Target:
    """An address that users can choose, so it must not be one where only the control plane itself is.

    Source: k8s.io/kubernetes pkg/proxy/util IsProxyableIP.

    Raises:
        BadRequest: it is a loopback, link-local or multicast address, or none at all.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError as error:
        raise errors.BadRequest(f'address not allowed: "{address}"') from error
    if ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        raise errors.BadRequest("address not allowed")
    return Target(address=address, port=port, secure="any" if scheme == "https" else "")


def _no_endpoints(service: str) -> errors.Unavailable:
    return errors.Unavailable(f'no endpoints available for service "{service}"')


def _number(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise errors.BadRequest(f'invalid port "{text}": must be between 1 and 65535')
    return int(text)


async def _pod(storage: Storage, namespace: str, name: str) -> Pod:
    resource = registry.of(Pod)
    return cast(Pod, objects.unpack(resource, await storage.get(resource, namespace, name)))


async def _kubelet(storage: Storage, name: str) -> Target:
    """Where a node's kubelet answers."""
    resource = registry.of(Node)
    found = cast(Node, objects.unpack(resource, await storage.get(resource, "", name)))
    address = node.internal_ip(found)
    endpoints = found.status.daemon_endpoints
    port = 0
    if isinstance(endpoints, dict):
        port = int((endpoints.get("kubeletEndpoint") or {}).get("Port") or 0)
    if not address or not port:
        raise errors.Unavailable(
            f"cannot reach kubelet of node {name}: it has not said where it is"
        )
    return Target(address=str(address), port=port, secure="kubelet")
