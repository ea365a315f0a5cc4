"""Liveness, readiness, startup: ask a container how it is, and count the answers.

A result changes only when as many answers in a row as the threshold agree. An answer that is neither success nor
failure (the probe itself broke) is not counted. Source: kubernetes pkg/kubelet/prober worker.go, pkg/probe/*.
"""

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urljoin, urlsplit

import aiohttp

from netpod.api.cri import NO_SUCH_EXEC
from netpod.api.pod import ContainerPort, GRPCAction, HTTPGetAction, Probe
from netpod.errors import NetpodError

USER_AGENT = "kube-probe/1.30"
HEADERS = (("User-Agent", USER_AGENT), ("Accept", "*/*"))
BODY_LIMIT = 10 << 10
REDIRECTS = 10
LISTEN_SECONDS = 2.0
"""How long the first probe waits for the container to say that it listens."""


class Outcome(StrEnum):
    """Of one probe; UNKNOWN is not counted."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """Outcome of one probe and, in words, why."""

    outcome: Outcome
    message: str = ""


SUCCESS = Answer(Outcome.SUCCESS)


class Counter:
    """A result that changes only after `successes` or `failures` equal answers in a row."""

    def __init__(self, initial: bool | None, successes: int, failures: int) -> None:
        self.result = initial
        self._needed = {Outcome.SUCCESS: max(1, successes), Outcome.FAILURE: max(1, failures)}
        self._last = Outcome.UNKNOWN
        self._run = 0

    def feed(self, outcome: Outcome) -> bool:
        """Count an answer; True when the result changed."""
        if outcome == Outcome.UNKNOWN:
            return False
        self._run = self._run + 1 if outcome == self._last else 1
        self._last = outcome
        result = outcome == Outcome.SUCCESS
        if self._run < self._needed[outcome] or result == self.result:
            return False
        self.result = result
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Who is asked.

    Attributes:
        pod_ip: Default host of the probes.
        ports: The container's, to resolve names.
        stands_in: The real program is not there: exec and gRPC probes count as answered, HTTPS is asked as HTTP.
        run: Runs a command in the pod and returns its exit code and output; TimeoutError when it takes longer than
            the seconds.
    """

    pod_ip: str
    ports: tuple[ContainerPort, ...]
    stands_in: bool
    run: Callable[[tuple[str, ...], float], Awaitable[tuple[int, str]]]


class Prober:
    """Asks on behalf of all containers of a node; one HTTP session without kept connections."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(self, probe: Probe, target: Target) -> Answer:
        """Ask once; never raises but for cancellation."""
        seconds = float(probe.timeout_seconds or 1)
        try:
            async with asyncio.timeout(seconds):
                return await self._ask(probe, target, seconds)
        except TimeoutError:
            return Answer(Outcome.FAILURE, self._late(probe, target, seconds))
        except (OSError, aiohttp.ClientError) as error:
            return Answer(Outcome.FAILURE, str(error) or type(error).__name__)
        except (ValueError, OverflowError, NetpodError) as error:
            return Answer(Outcome.UNKNOWN, str(error))

    async def _ask(self, probe: Probe, target: Target, seconds: float) -> Answer:
        if probe.http_get is not None:
            return await self._http(probe.http_get, target)
        if probe.tcp_socket is not None:
            host = probe.tcp_socket.host or target.pod_ip
            port = resolve(probe.tcp_socket.port, target.ports)
            try:
                _, writer = await asyncio.open_connection(host, port)
            except OSError as error:
                return Answer(Outcome.FAILURE, _dial(host, port, error))
            writer.close()
            return SUCCESS
        if target.stands_in:
            return SUCCESS
        if probe.exec_ is not None:
            code, said = await target.run(probe.exec_.command, seconds)
            if code and said.startswith(NO_SUCH_EXEC):
                return Answer(Outcome.UNKNOWN, said)
            return SUCCESS if code == 0 else Answer(Outcome.FAILURE, said or f"exit status {code}")
        if probe.grpc is not None:
            return await self._grpc(probe.grpc, target, seconds)
        return Answer(Outcome.UNKNOWN, "missing probe handler")

    async def _grpc(self, action: GRPCAction, target: Target, seconds: float) -> Answer:
        # HTTP/2 is loaded by kubelets that have such a probe, and by no other.
        from netpod.kubelet import grpchealth

        try:
            await grpchealth.check(
                target.pod_ip, action.port, action.service or "", USER_AGENT, seconds
            )
        except grpchealth.Unhealthy as error:
            return Answer(Outcome.FAILURE, str(error))
        return SUCCESS

    def _late(self, probe: Probe, target: Target, seconds: float) -> str:
        """Say that nothing came in time, as each kind of upstream's probes does."""
        if probe.exec_ is not None:
            command = " ".join(probe.exec_.command)
            return f'command timed out: "{command}" timed out after {seconds:g}s'
        if probe.grpc is not None:
            return f"timeout: health rpc did not complete within {seconds:g}s"
        if probe.http_get is not None:
            url = _url(probe.http_get, target)
            return f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        if probe.tcp_socket is not None:
            port = resolve(probe.tcp_socket.port, target.ports)
            return f"dial tcp {probe.tcp_socket.host or target.pod_ip}:{port}: i/o timeout"
        return f"no answer within {seconds:g} s"

    async def _http(self, get: HTTPGetAction, target: Target) -> Answer:
        url = _url(get, target)
        host = urlsplit(url).hostname
        headers = [(header.name, header.value) for header in get.http_headers]
        given = {name.lower() for name, _ in headers}
        headers += [(name, value) for name, value in HEADERS if name.lower() not in given]
        for _ in range(REDIRECTS + 1):
            try:
                async with self._open().get(
                    url, headers=headers, allow_redirects=False
                ) as response:
                    await response.content.read(BODY_LIMIT)
                    status = response.status
                    where = response.headers.get("Location", "")
            except aiohttp.ClientConnectorError as error:
                place = urlsplit(url)
                why = _dial(place.hostname or "", place.port or 80, error.os_error)
                return Answer(Outcome.FAILURE, f'Get "{url}": {why}')
            except aiohttp.ServerDisconnectedError:
                return Answer(Outcome.FAILURE, f'Get "{url}": EOF')
            if status in (301, 302, 303, 307, 308) and where:
                url = urljoin(url, where)
                if urlsplit(url).hostname == host:
                    continue
            if 200 <= status < 400:
                return SUCCESS
            return Answer(Outcome.FAILURE, f"HTTP probe failed with statuscode: {status}")
        return Answer(Outcome.FAILURE, f"stopped after {REDIRECTS} redirects")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connector = aiohttp.TCPConnector(ssl=context, force_close=True, limit=0)
            self._session = aiohttp.ClientSession(
                connector=connector, skip_auto_headers=["User-Agent"]
            )
        return self._session


def _url(get: HTTPGetAction, target: Target) -> str:
    """Return what a probe asks for; of a stand-in without TLS, which has no certificate."""
    scheme = "http" if target.stands_in else (get.scheme or "HTTP").lower()
    host = get.host or target.pod_ip
    if ":" in host:
        host = f"[{host}]"
    path = get.path if get.path.startswith("/") else f"/{get.path}"
    return f"{scheme}://{host}:{resolve(get.port, target.ports)}{path}"


def _dial(host: str, port: int, error: OSError) -> str:
    """Say why there is no connection, in the words of Go's net.Dial."""
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno is None or not error.strerror:
        return f"dial tcp {place}: {error}"
    return f"dial tcp {place}: connect: {os.strerror(error.errno).lower()}"


def resolve(port: int | str, ports: tuple[ContainerPort, ...]) -> int:
    """Return a port's number, by name if need be.

    Raises:
        ValueError: no port of the container has that name.
    """
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for declared in ports:
        if declared.name == port:
            return declared.container_port
    raise ValueError(f"no port is named {port}")


class Probes:
    """The three probes of one running container.

    Attributes:
        started: The startup probe succeeded, or there is none.
        ready: Result of the readiness probe; True without one.
        failed: Why liveness or startup gave up on the container; "" while they have not.

    Args:
        startup: Asked first, alone, until it succeeds.
        liveness: Asked after that.
        readiness: Asked after that, also while the container ends.
        ask: Asks one probe: Startup, Liveness or Readiness, and which.
        changed: Told when one of the attributes changed.
        unhealthy: Told of each answer that is no success: which probe, and why in a sentence.
        was_started: It had started when an earlier kubelet last looked.
        was_ready: It was ready then, and is until the probe says otherwise: a kubelet's restart is no reason to take
            a container out of service.
    """

    def __init__(
        self,
        startup: Probe | None,
        liveness: Probe | None,
        readiness: Probe | None,
        *,
        ask: Callable[[str, Probe], Awaitable[Answer]],
        changed: Callable[[], None],
        unhealthy: Callable[[str, str], None],
        was_started: bool = False,
        was_ready: bool = False,
    ) -> None:
        self.started = startup is None or was_started
        self.ready = readiness is None or was_ready
        self.failed = ""
        self.listening = asyncio.Event()
        self._startup = startup
        self._liveness = liveness
        self._readiness = readiness
        self._ask = ask
        self._changed = changed
        self._unhealthy = unhealthy
        self._ending = False

    @property
    def needed(self) -> bool:
        """Whether there is anything to ask."""
        return any((self._startup, self._liveness, self._readiness))

    def end(self) -> None:
        """The container is to end: only readiness goes on."""
        self._ending = True

    async def run(self) -> None:
        """Ask until cancelled."""
        try:
            async with asyncio.timeout(LISTEN_SECONDS):
                await self.listening.wait()
        except TimeoutError:
            pass
        if not self.started and self._startup and not await self._start(self._startup):
            return
        async with asyncio.TaskGroup() as tasks:
            if self._liveness is not None:
                tasks.create_task(self._live(self._liveness), name="liveness")
            if self._readiness is not None:
                tasks.create_task(self._become_ready(self._readiness), name="readiness")

    async def _start(self, probe: Probe) -> bool:
        counter = Counter(None, 1, probe.failure_threshold or 3)
        await asyncio.sleep(probe.initial_delay_seconds)
        while not self._ending:
            if await self._count(probe, counter, "Startup"):
                self.started = counter.result is True
                self.failed = "" if self.started else "failed startup probe"
                self._changed()
                return self.started
            await asyncio.sleep(probe.period_seconds or 10)
        return True

    async def _live(self, probe: Probe) -> None:
        counter = Counter(True, 1, probe.failure_threshold or 3)
        await asyncio.sleep(probe.initial_delay_seconds)
        while not self._ending:
            if await self._count(probe, counter, "Liveness") and counter.result is False:
                self.failed = "failed liveness probe"
                self._changed()
                return
            await asyncio.sleep(probe.period_seconds or 10)

    async def _become_ready(self, probe: Probe) -> None:
        counter = Counter(self.ready, probe.success_threshold or 1, probe.failure_threshold or 3)
        await asyncio.sleep(probe.initial_delay_seconds)
        while True:
            if await self._count(probe, counter, "Readiness"):
                self.ready = counter.result is True
                self._changed()
            await asyncio.sleep(probe.period_seconds or 10)

    async def _count(self, probe: Probe, counter: Counter, kind: str) -> bool:
        answer = await self._ask(kind, probe)
        if answer.outcome != Outcome.SUCCESS and not self._ending:
            verb = "failed" if answer.outcome == Outcome.FAILURE else "errored"
            self._unhealthy(kind, f"{kind} probe {verb}: {answer.message}")
        return counter.feed(answer.outcome)
