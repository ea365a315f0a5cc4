"""The HAProxy processes: start, change at run time, replace without dropping, bring back after a crash.

The listening sockets are ours; every HAProxy inherits them. So connections wait in the kernel while one process
takes over from the other, and also while a killed one is replaced: none is refused. A replaced HAProxy finishes
its requests and ends by itself (hard-stop-after). PR_SET_PDEATHSIG, set by setpriv, ends all of them with us.
"""

import asyncio
import logging
import os
import shutil
import signal
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from netpod.errors import CommandFailed, KernelError
from netpod.ingress import change, haproxy, runtime
from netpod.ingress.gateway import frontend as gateway_text
from netpod.ingress.haproxy import Config, Settings
from netpod.ip import host_port
from netpod.linux import process

log = logging.getLogger(__name__)
BACKLOG = 1024
START_SECONDS = 10.0
"""How long a new HAProxy may take until it answers."""
STOP_SECONDS = 5.0
"""How long requests in work may take when all ends."""
_POLL_SECONDS = 0.005
_RESTART_SECONDS = (0.01, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    pid: int
    pidfd: int


class Haproxy:
    """One HAProxy as seen from outside, though its process may change. Use from the loop's thread only.

    Args:
        directory: Where its configuration, maps and runtime socket lie; made, and removed by `run`.
        listen: Address and port of HTTP, e.g. ("0.0.0.0", 80). Port 0 takes a free one, see `port`.
        tls: Address and port of HTTPS; None serves none.
        six: Serve the same ports on every IPv6 address too.
        certificate: PEM of the default certificate and its key; needed for HTTPS.
        sources: Addresses of this pod, which traced requests come from, at most one of each family.
        health: Where GET /healthz says 200, e.g. "0.0.0.0:10254"; "" for nowhere.
        stdout: File descriptor of the access log; None is this process's stdout.
    """

    def __init__(
        self,
        directory: Path,
        *,
        listen: tuple[str, int],
        tls: tuple[str, int] | None = None,
        certificate: str = "",
        sources: tuple[str, ...],
        six: bool = False,
        health: str = "",
        stdout: int | None = None,
    ) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._stdout = stdout
        self._certificate = certificate
        self._listener = _listen(*listen)
        self._tls = _listen(*tls) if tls is not None else None
        self._six = six
        http = self._beside(self._listener)
        https = self._beside(self._tls) if self._tls is not None else []
        self._listeners = [*http, *https]
        self._settings = Settings(
            bind=_words(http),
            tls=_words(https),
            health=health,
            sources=sources,
            socket=str(directory / "haproxy.sock"),
        )
        self._gateways: dict[int, list[socket.socket]] = {}
        self._host = listen[0]
        self._socket = Path(self._settings.socket)
        self._config: Config | None = None
        self._current: _Process | None = None
        self._all: set[_Process] = set()
        self._ended = asyncio.Event()
        self._lock = asyncio.Lock()
        self.reloads = 0

    @property
    def port(self) -> int:
        """Port that HTTP is served on."""
        number: int = self._listener.getsockname()[1]
        return number

    @property
    def tls_port(self) -> int:
        """Port that HTTPS is served on; 0 without."""
        return int(self._tls.getsockname()[1]) if self._tls is not None else 0

    @property
    def pid(self) -> int:
        """Process id of the HAProxy that takes new connections; 0 while there is none."""
        return self._current.pid if self._current is not None else 0

    async def apply(self, wanted: Config) -> None:
        """Make HAProxy run with `wanted`, with the least change: nothing, the runtime API, or another process.

        Raises:
            CommandFailed: HAProxy rejects the configuration; what ran goes on.
            KernelError: it cannot be started.
        """
        if self._tls is None:
            wanted = replace(wanted, certificates={})
        async with self._lock:
            running = self._config if self._current is not None else None
            plan = change.plan(running, wanted)
            if not plan.reload:
                if not plan.commands:
                    return
                self._write(plan.config)
                try:
                    await runtime.apply(self._socket, plan.commands)
                except KernelError as error:
                    log.warning("%s; reloading", error)
                else:
                    self._config = plan.config
                    return
            await self._replace(change.plan(None, wanted).config)

    async def check(self, config: Config) -> str:
        """Return what HAProxy finds wrong with a configuration, "" for nothing; what runs goes on."""
        if self._tls is None:
            config = replace(config, certificates={})
        # Only read, never listened on.
        places = {each.bind: (f"127.0.0.1:{each.bind}",) for each in config.frontends}
        own, tls = ("127.0.0.1:80",), ("127.0.0.1:443",) if self._tls is not None else ()
        settings = replace(self._settings, bind=own, tls=tls, gateways=places)
        directory = self._directory / "check"
        directory.mkdir(mode=0o700, exist_ok=True)
        try:
            self._write(config, directory, settings)
            argv = [process.find("haproxy"), "-c", "-f", str(directory / "haproxy.cfg")]
            await process.arun(argv)
        except CommandFailed as error:
            return _first_alert(error.stderr)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        return ""

    async def run(self) -> None:
        """Bring HAProxy back whenever it ends, forever; when cancelled, stop it and remove its files."""
        pause = _RESTART_SECONDS[0]
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            while True:
                await self._ended.wait()
                async with self._lock:
                    self._ended.clear()
                    if self._current is not None or self._config is None:
                        continue
                    # One that lived for a while is brought back at once, one that does not stay is not hurried.
                    long = loop.time() - started > _RESTART_SECONDS[1]
                    pause = _RESTART_SECONDS[0] if long else min(pause * 2, _RESTART_SECONDS[1])
                    started = loop.time()
                    try:
                        await self._replace(self._config)
                    except KernelError as error:
                        log.error("%s; trying again in %g s", error, pause)
                        self._ended.set()
                        await asyncio.sleep(pause)
        finally:
            await self._stop()

    async def _replace(self, config: Config) -> None:
        """Start another HAProxy and, once it answers, let the one before it finish its requests.

        HAProxy checks a configuration before it does anything; one that is wrong leaves the one before in place.
        """
        old = self._current
        gateways = self._listen_for(config)
        self._write(config)
        # setpriv becomes HAProxy, which then dies with us even when we are killed. Source: setpriv(1).
        path = str(self._directory / "haproxy.cfg")
        argv = ["setpriv", "--pdeathsig", "KILL", process.find("haproxy"), "-db", "-f", path]
        # What it says matters until it runs; later it tells of every backend that stops. Nobody reads that then.
        said, saying = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            pid = process.spawn(
                argv,
                stdout=self._stdout,
                stderr=saying,
                pass_fds=[each.fileno() for each in (*self._listeners, *gateways)],
            )
            os.close(saying)
            saying = -1
            new = _Process(pid=pid, pidfd=process.pidfd_open(pid))
            self._all.add(new)
            asyncio.get_running_loop().add_reader(new.pidfd, self._on_end, new)
            async with asyncio.timeout(START_SECONDS):
                while await self._answering() != pid:
                    if new not in self._all:
                        raise CommandFailed(argv, 1, _alerts(said))
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError as error:
            process.send_signal(new.pidfd, signal.SIGKILL)
            raise KernelError(f"cannot start HAProxy: no answer in {START_SECONDS:g} s") from error
        finally:
            os.close(said)
            if saying >= 0:
                os.close(saying)
        self._current, self._config = new, config
        if old is not None:
            self.reloads += 1
            process.send_signal(old.pidfd, signal.SIGUSR1)
        for bind in self._gateways.keys() - {each.bind for each in config.frontends}:
            for gone in self._gateways.pop(bind):
                gone.close()
        log.info("HAProxy %d serves %d targets", pid, len(config.slots))

    def _listen_for(self, config: Config) -> list[socket.socket]:
        """Open what the frontends of Gateways listen on; what they no longer do is closed after the reload.

        A process that was given the socket of a Gateway that is gone would keep its clients waiting.
        """
        for frontend in config.frontends:
            if frontend.bind not in self._gateways:
                made = _listen(self._host, frontend.bind)
                self._gateways[frontend.bind] = self._beside(made)
        words = {bind: _words(each) for bind, each in self._gateways.items()}
        self._settings = replace(self._settings, gateways=words)
        return [each for it in config.frontends for each in self._gateways[it.bind]]

    def _beside(self, listener: socket.socket) -> list[socket.socket]:
        """The socket, and where IPv6 is served too, another of the same port."""
        return [listener, *([_listen("::", listener.getsockname()[1])] if self._six else [])]

    async def _answering(self) -> int:
        try:
            return await runtime.pid(self._socket)
        except KernelError:
            return 0

    def _on_end(self, ended: _Process) -> None:
        asyncio.get_running_loop().remove_reader(ended.pidfd)
        status = self._bury(ended)
        if ended == self._current:
            log.warning("HAProxy %d ended with status %s", ended.pid, status)
            self._current = None
            self._ended.set()

    def _write(
        self, config: Config, directory: Path | None = None, settings: Settings | None = None
    ) -> None:
        directory = directory or self._directory
        files = {name: haproxy.map_text(entries) for name, entries in config.maps.items()}
        files["haproxy.cfg"] = haproxy.text(config, settings or self._settings)
        if self._tls is not None:
            files[haproxy.DEFAULT_CERTIFICATE] = self._certificate
            files[haproxy.CERTIFICATES] = haproxy.certificates_text(config.certificates)
        for folder in ("certificates", "gateways"):
            shutil.rmtree(directory / folder, ignore_errors=True)
            (directory / folder).mkdir(mode=0o700)
        for frontend in config.frontends:
            files |= frontend.pems
            if frontend.https:
                files[gateway_text.certificates_file(frontend)] = gateway_text.certificates_text(
                    frontend
                )
        for host, pem in config.certificates.items():
            files[haproxy.certificate_file(host)] = pem
        for name, text in files.items():
            (directory / name).write_text(text)

    async def _stop(self) -> None:
        """Take no more connections, give requests in work a while, and leave nothing."""
        self._current = None
        gateways = [each for found in self._gateways.values() for each in found]
        for listener in (*self._listeners, *gateways):
            listener.close()
        loop = asyncio.get_running_loop()
        left = list(self._all)
        for one in left:
            loop.remove_reader(one.pidfd)
        for number in (signal.SIGUSR1, signal.SIGKILL):
            for one in left:
                process.send_signal(one.pidfd, number)
            until = loop.time() + STOP_SECONDS
            still = [
                one
                for one in left
                if not await process.await_exit(one.pidfd, max(0.0, until - loop.time()))
            ]
            for one in left:
                if one not in still:
                    self._bury(one)
            left = still
        shutil.rmtree(self._directory, ignore_errors=True)

    def _bury(self, ended: _Process) -> int | None:
        self._all.discard(ended)
        os.close(ended.pidfd)
        return process.reap(ended.pid)


def _alerts(fd: int) -> str:
    """What HAProxy complained of before it ended."""
    try:
        text = os.read(fd, 1 << 16).decode(errors="replace")
    except BlockingIOError:
        return "it ended without a word"
    return _first_alert(text)


def _first_alert(text: str) -> str:
    # `[ALERT]    (PID) : config : parsing [...]`; the first one is the cause of the others.
    alerts = [line for line in text.splitlines() if line.startswith("[ALERT]")]
    return alerts[0].partition(" : ")[2] if alerts else text


def _words(listeners: Iterable[socket.socket]) -> tuple[str, ...]:
    return tuple(f"fd@{each.fileno()}" for each in listeners)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise KernelError(
            f"cannot listen on {host_port(host, port)}", errno=error.errno or 0
        ) from error
    return listener
