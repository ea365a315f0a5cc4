"""The kubelet's API: what the API server, and nobody else, asks of a node.

    GET       /healthz
    GET       /pods                                        the node's pods
    GET       /stats/summary                               what they use; see summary.py
    GET       /metrics /metrics/cadvisor /metrics/resource the same for Prometheus; see exposition.py
    GET       /metrics/probes                              what probes were asked; see probemetrics.py
    GET       /containerLogs/NAMESPACE/POD/CONTAINER       follow previous timestamps tailLines since... limitBytes
    GET POST  /exec/NAMESPACE/POD/CONTAINER                command* input output error tty; an upgrade
    GET POST  /attach/NAMESPACE/POD/CONTAINER              the same without command
    GET POST  /portForward/NAMESPACE/POD                   port*; an upgrade

Source: kubernetes pkg/kubelet/server/server.go.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import orjson
from aiohttp import web

from netpod import metrics
from netpod.api import codec, meta
from netpod.api.cri import Container, ExecConfig, Sandbox, State
from netpod.api.pod import Pod
from netpod.api.pod_status import ContainerStatus
from netpod.client.rest import Client
from netpod.errors import ApiError, BadRequest, NotFound
from netpod.ip import family_of
from netpod.kubelet import execution, keptlogs, permission, podlogs, streaming
from netpod.kubelet.config import KUBELET_PORT, VERSION, KubeletConfig
from netpod.kubelet.podlogs import LogOptions
from netpod.kubelet.probemetrics import ProbeMetrics
from netpod.kubelet.runtime import Runtime
from netpod.kubelet.session import Options, Outcome, Session
from netpod.kubelet.stats import Sampler
from netpod.web import BACKLOG, serve

log = logging.getLogger(__name__)
_TRUE = ("1", "true")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A pod of this node as the shim has it; `pod` is None while the API server's word is still on its way."""

    sandbox: Sandbox | None
    containers: tuple[Container, ...]
    pod: Pod | None


class KubeletServer:
    """Answers for one node.

    Args:
        config: The node.
        runtime: What runs on it.
        pods: The pods bound to it, as the API server has them.
        sampler: What they use.
        probed: What their probes said.
        client: Who may ask, where a token says who asks.
    """

    def __init__(
        self,
        config: KubeletConfig,
        runtime: Runtime,
        pods: Callable[[], list[Pod]],
        sampler: Sampler,
        probed: ProbeMetrics,
        client: Client,
    ) -> None:
        self._sampler = sampler
        self._probed = probed
        self._client = client
        self._config = config
        self._runtime = runtime
        self._pods = pods

    async def run(self, tls: Callable[[], ssl.SSLContext]) -> None:
        """Serve until cancelled."""
        listening = socket.socket(family_of(self._config.node_ip).af, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((str(self._config.node_ip), KUBELET_PORT))
            listening.listen(BACKLOG)
            await serve(listening, self._handle, tls)
        except OSError as error:
            # Pods run without it; only logs, exec and port-forward by the API do not.
            log.error(
                "cannot listen on %s:%d: %s", self._config.node_ip, KUBELET_PORT, error.strerror
            )
        finally:
            listening.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            await permission.check(self._client, request, self._config.node)
            return await self._route(request)
        except ApiError as error:
            return web.Response(status=error.code, text=str(error))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:  # one request's mistake must not end the others
            log.exception("cannot answer %s %s", request.method, request.path)
            return web.Response(status=500, text="internal error")

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        match request.path.strip("/").split("/"):
            case ["healthz"]:
                return web.Response(text="ok")
            case ["pods"]:
                return self._list()
            case ["stats", "summary"]:
                return _json(await self._sampler.read())
            case ["metrics", *part] if len(part) < 2:
                return await self._metrics("".join(part))
            case ["containerLogs", namespace, pod, container]:
                return await self._logs(request, namespace, pod, container)
            case ["exec", namespace, pod, container]:
                return await self._exec(request, namespace, pod, container)
            case ["attach", namespace, pod, container]:
                return await self._attach(request, namespace, pod, container)
            case ["portForward", namespace, pod]:
                return await self._forward(request, namespace, pod)
        raise NotFound("404 page not found")

    def _list(self) -> web.Response:
        items = [codec.encode(pod) for pod in self._pods()]
        body = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}
        return _json(body)

    async def _metrics(self, part: str) -> web.Response:
        from netpod.kubelet import exposition  # its library costs memory that most nodes never need

        headers = {"Content-Type": metrics.CONTENT_TYPE}
        if part == "probes":
            return web.Response(body=metrics.text(self._probed.families()), headers=headers)
        summary = await self._sampler.read()
        if part == "cadvisor":
            families = exposition.cadvisor(summary)
        elif part == "resource":
            families = exposition.resource(summary)
        elif not part:
            families = exposition.kubelet(summary, VERSION)
        else:
            raise NotFound("404 page not found")
        return web.Response(body=metrics.text(families), headers=headers)

    def _find(self, namespace: str, name: str) -> Found:
        """Return what there is of a pod, the newest of its name.

        Raises:
            NotFound: nothing.
        """
        key = (namespace, name)
        sandboxes = [
            seen
            for seen in self._runtime.sandboxes.values()
            if (seen.config.namespace, seen.config.name) == key
        ]
        pod = next(
            (p for p in self._pods() if (p.metadata.namespace, p.metadata.name) == key), None
        )
        newest = max(sandboxes, key=lambda seen: seen.created_at, default=None)
        if newest is None and pod is None:
            raise NotFound(f'pod "{name}" does not exist')
        if newest is None or (pod is not None and pod.metadata.uid != newest.config.uid):
            return Found(sandbox=None, containers=(), pod=pod)
        containers = tuple(self._runtime.of_pod(newest.config.uid)[1])
        return Found(sandbox=newest, containers=containers, pod=pod)

    def _running(self, namespace: str, name: str, container: str) -> Container:
        """Return a container that runs.

        Raises:
            ApiError: it does not; 500 as upstream says it.
        """
        found = self._find(namespace, name)
        mine = [seen for seen in found.containers if seen.config.name == container]
        if not mine or mine[-1].state != State.RUNNING:
            raise ApiError(f'container not found ("{container}")')
        return mine[-1]

    async def _exec(
        self, request: web.BaseRequest, namespace: str, name: str, container: str
    ) -> web.StreamResponse:
        seen = self._running(namespace, name, container)
        options = _options(request)
        argv = tuple(request.query.getall("command", []))
        if not argv:
            raise BadRequest("you must specify at least one command for the container")
        config = ExecConfig(container_id=seen.config.id, sandbox_id=seen.config.sandbox_id)
        config = replace(config, argv=argv, env=seen.config.env, tty=options.tty)

        async def program(session: Session) -> Outcome:
            return await execution.run(self._config.shim_socket, config, options, session)

        return await streaming.serve_program(request, options, program)

    async def _attach(
        self, request: web.BaseRequest, namespace: str, name: str, container: str
    ) -> web.StreamResponse:
        seen = self._running(namespace, name, container)

        directory = self._config.paths.node(self._config.node) / "containers" / seen.config.id
        options = _options(request)

        async def program(session: Session) -> Outcome:
            stdin = directory / "stdin" if options.stdin else None
            sizes = directory / "size" if options.tty else None
            path, runs = Path(seen.config.log), self._runs(seen)
            return await execution.attach(path, stdin, runs, session, sizes=sizes)

        return await streaming.serve_program(request, options, program)

    async def _forward(
        self, request: web.BaseRequest, namespace: str, name: str
    ) -> web.StreamResponse:
        found = self._find(namespace, name)
        if found.sandbox is None or found.sandbox.state != State.RUNNING:
            raise ApiError(f'unable to forward port because pod "{name}" is not running')
        config = found.sandbox.config
        ports = [_port(text) for text in request.query.getall("port", [])]
        return await streaming.serve_ports(request, ports, config.netns, name, config.uid)

    async def _logs(
        self, request: web.BaseRequest, namespace: str, name: str, container: str
    ) -> web.StreamResponse:
        options = log_options(request.query.get)
        found = self._find(namespace, name)
        seen = next(
            (item for item in reversed(found.containers) if item.config.name == container), None
        )
        status = keptlogs.status_of(found.pod, container)
        if request.query.get("previous") in _TRUE:
            attempt = _previous(seen, status)
            if seen is None or attempt < 0:
                cause = f'previous terminated container "{container}" in pod "{name}" not found'
                raise BadRequest(cause)
            path, runs = Path(seen.config.log).with_name(f"{attempt}.log"), _never
        elif seen is not None:
            path, runs = Path(seen.config.log), self._runs(seen)
        else:
            path, runs = keptlogs.find(self._config.paths, found.pod, container, name), _never
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        async for data in podlogs.stream(path, options, runs):
            await response.write(data)
        await response.write_eof()
        return response

    def _runs(self, seen: Container) -> Callable[[], bool]:
        """Whether a container may still write."""

        def runs() -> bool:
            now = self._runtime.containers.get(seen.config.id)
            return now is not None and now.state == State.RUNNING

        return runs


def _json(data: object) -> web.Response:
    return web.Response(body=orjson.dumps(data), content_type="application/json")


def log_options(query: Callable[[str], str | None]) -> LogOptions:
    """Read the parameters of a request for a log.

    Raises:
        BadRequest: one is not what it must be.
    """
    seconds, moment = _number(query("sinceSeconds"), "sinceSeconds"), query("sinceTime")
    since = None if seconds is None else meta.now() - timedelta(seconds=seconds)
    if moment:
        try:
            since = meta.parse_timestamp(moment)
        except ValueError as error:
            raise BadRequest(f'sinceTime: Invalid value: "{moment}": not RFC 3339') from error
    return LogOptions(
        follow=query("follow") in _TRUE,
        timestamps=query("timestamps") in _TRUE,
        tail=_number(query("tailLines"), "tailLines"),
        since=since,
        limit=_number(query("limitBytes"), "limitBytes"),
    )


def _number(text: str | None, name: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or len(text) > 18:
        raise BadRequest(f'{name}: Invalid value: "{text}": must be a non-negative integer')
    return int(text)


def _port(text: str) -> int:
    for part in text.split(","):
        if part.isdecimal() and 0 < int(part) < 1 << 16:
            return int(part)
    raise BadRequest(f'port "{text}" must be between 1 and 65535')


def _options(request: web.BaseRequest) -> Options:
    query = request.query
    return Options(
        stdin=query.get("input") in _TRUE,
        stdout=query.get("output") in _TRUE,
        stderr=query.get("error") in _TRUE,
        tty=query.get("tty") in _TRUE,
    )


def _never() -> bool:
    return False


def _previous(seen: Container | None, status: ContainerStatus | None) -> int:
    """Which run of a container was the one before; negative when there was none.

    One that has ended and is to run again is the previous one already, unless its end is its state for good.
    """
    if seen is None:
        return -1
    state = status.state if status is not None else None
    for_good = state is not None and state.terminated is not None
    restarts = seen.state == State.EXITED and not for_good
    return seen.config.attempt - (0 if restarts else 1)
