"""HAProxy is changed, replaced and killed while requests go on."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from netpod.errors import CommandFailed
from netpod.ingress.haproxy import Config
from netpod.linux import process
from tests.unit.ingress.builders import make_class, make_ingress, make_service, make_slice

Start = Callable[..., Any]
CLASS = [make_class()]


async def _until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not fact():
            await asyncio.sleep(0.005)


def test_route_and_address_change_without_reload(proxy: Start, http_server: Start) -> None:
    """A new host, path or cluster IP reaches the same process through its runtime API."""

    async def check() -> None:
        async with http_server("a") as a, http_server("b") as b, proxy() as running:
            web = make_service("web", cluster_ip="127.0.0.1", ports=(("http", a.port),))
            site = make_ingress(("a.com", "Prefix", "/", "web"), port="http")
            await running.serve([site], CLASS, [web], [])
            pid = running.haproxy.pid
            more = make_ingress(
                ("a.com", "Prefix", "/", "web"), ("*.b.com", "Exact", "/;\\|", "web"), port="http"
            )
            await running.serve([more], CLASS, [web], [])
            assert (await running.get("x.b.com", "/;\\|")).status == 200
            moved = make_service("web", cluster_ip="127.0.0.1", ports=(("http", b.port),))
            await running.serve([more], CLASS, [moved], [])
            assert (await running.get("a.com", "/")).seen["name"] == "b"
            await running.serve([more], CLASS, [], [])
            assert (await running.get("a.com", "/")).status == 503
            await running.serve([], CLASS, [], [])
            assert (await running.get("a.com", "/")).status == 404
            await running.serve([site], CLASS, [web], [])
            assert (await running.get("a.com", "/")).seen["name"] == "a"
            assert running.haproxy.pid == pid
            assert running.haproxy.reloads == 0

    asyncio.run(check())


def test_endpoints_change_without_reload(proxy: Start, http_server: Start) -> None:
    """Past kube-proxy, a pod more or less is a server's address, as long as there are servers."""

    async def check() -> None:
        async with http_server("a", "127.0.0.2") as a, proxy() as running:
            listener = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.3", a.port)
            web = make_service("web", ports=(("", 80),))
            site = make_ingress(
                ("a.com", "Prefix", "/", "web"), annotations={"netpod.dev/upstream": "endpoints"}
            )

            async def endpoints(*ips: str) -> None:
                slices = [make_slice("web", *ips, port=a.port)]
                await running.serve([site], CLASS, [web], slices)

            await endpoints("127.0.0.2")
            pid = running.haproxy.pid
            await endpoints("127.0.0.2", "127.0.0.3")
            statuses = {(await running.get("a.com", "/")).status for _ in range(4)}
            assert statuses == {200, 502}
            await endpoints("127.0.0.2")
            assert {(await running.get("a.com", "/")).status for _ in range(4)} == {200}
            await endpoints()
            assert (await running.get("a.com", "/")).status == 503
            assert running.haproxy.pid == pid
            listener.close()

    asyncio.run(check())


def test_reload_under_requests_fails_none(proxy: Start, http_server: Start) -> None:
    """Each new Service replaces the process; every request is answered, also those that were under way."""

    async def check() -> None:
        async with http_server("web", delay=0.02) as server, proxy() as running:
            port = server.port
            services = [make_service("web", cluster_ip="127.0.0.1", ports=(("", port),))]
            slices = [make_slice("web", "127.0.0.1", port=port)]
            rules = [("a.com", "Prefix", "/", "web")]
            await running.serve([make_ingress(*rules, port=port)], CLASS, services, slices)
            first = running.haproxy.pid
            statuses: list[int] = []
            done = asyncio.Event()

            async def ask() -> None:
                while not done.is_set():
                    statuses.append((await running.get("a.com", "/")).status)

            async with asyncio.TaskGroup() as tasks:
                for _ in range(8):
                    tasks.create_task(ask())
                for number in range(5):
                    name = f"more{number}"
                    services.append(make_service(name, cluster_ip="127.0.0.1", ports=(("", port),)))
                    slices.append(make_slice(name, "127.0.0.1", port=port))
                    rules.append(("a.com", "Prefix", f"/{name}", name))
                    ingress = make_ingress(*rules, port=port)
                    await running.serve([ingress], CLASS, services, slices)
                    assert (await running.get("a.com", f"/{name}")).status == 200
                done.set()
            assert running.haproxy.reloads == 5
            assert running.haproxy.pid != first
            assert len(statuses) > 50
            assert set(statuses) == {200}
            await _until(lambda: not os.path.exists(f"/proc/{first}"))

    asyncio.run(check())


def test_kept_connections_outlive_reloads(proxy: Start, http_server: Start) -> None:
    """wrk keeps its connections while routes change, half of them by a reload: not one request fails."""

    async def check() -> None:
        async with http_server("web") as server, proxy() as running:
            port = server.port
            services = [make_service("web", cluster_ip="127.0.0.1", ports=(("", port),))]
            slices = [make_slice("web", "127.0.0.1", port=port)]
            rules = [("a.com", "Prefix", "/", "web")]
            await running.serve([make_ingress(*rules, port=port)], CLASS, services, slices)
            argv = ["wrk", "-t", "1", "-c", "8", "-d", "6s", "-H", "Host: a.com"]
            url = f"http://127.0.0.1:{running.haproxy.port}/"
            async with asyncio.TaskGroup() as tasks:
                asked = tasks.create_task(process.arun([*argv, url]))
                for number in range(20):
                    await asyncio.sleep(0.2)
                    if number % 2:
                        name = f"more{number}"
                        service = make_service(name, cluster_ip="127.0.0.1", ports=(("", port),))
                        services.append(service)
                        slices.append(make_slice(name, "127.0.0.1", port=port))
                        rules.append(("a.com", "Prefix", f"/{name}", name))
                    else:
                        rules.append(("a.com", "Prefix", f"/other{number}", "web"))
                    ingress = make_ingress(*rules, port=port)
                    await running.serve([ingress], CLASS, services, slices)
            said = (await asked).stdout.decode()
            assert running.haproxy.reloads >= 10
            assert "requests in" in said
            assert "Socket errors" not in said, said
            assert "Non-2xx" not in said, said

    asyncio.run(check())


def test_rejected_configuration_leaves_the_one_before_in_place(
    proxy: Start, http_server: Start
) -> None:
    """HAProxy says what is wrong, and requests go on as before."""

    async def check() -> None:
        async with http_server("web") as server, proxy() as running:
            port = server.port
            web = make_service("web", cluster_ip="127.0.0.1", ports=(("", port),))
            site = make_ingress(("a.com", "Prefix", "/", "web"), port=port)
            await running.serve([site], CLASS, [web], [])
            before = running.haproxy.pid
            nonsense = Config(slots={"not/a name": (None,)})
            with pytest.raises(CommandFailed, match=r"haproxy\.cfg:"):
                await running.haproxy.apply(nonsense)
            assert (await running.get("a.com", "/")).status == 200
            assert running.haproxy.pid == before
            await running.serve([site], CLASS, [], [])
            assert (await running.get("a.com", "/")).status == 503

    asyncio.run(check())


def test_killed_haproxy_comes_back_and_refuses_nobody(proxy: Start, http_server: Start) -> None:
    """After kill -9 new connections wait in the listening socket until the next HAProxy takes them."""

    async def check() -> None:
        async with http_server("web") as server, proxy(health="127.0.0.1:10254") as running:
            port = server.port
            web = make_service("web", cluster_ip="127.0.0.1", ports=(("", port),))
            site = make_ingress(("a.com", "Prefix", "/", "web"), port=port)
            await running.serve([site], CLASS, [web], [])
            for _ in range(2):
                before = running.haproxy.pid
                os.kill(before, signal.SIGKILL)
                assert (await running.get("a.com", "/")).status == 200
                await _until(lambda old=before: running.haproxy.pid not in (0, old))

    asyncio.run(check())


def test_haproxy_dies_with_its_controller(proxy: Start) -> None:
    """kill -9 of the process that started HAProxy leaves no HAProxy behind."""

    async def started() -> int:
        async with proxy() as running:
            await running.serve([], CLASS, [], [])
            pid: int = running.haproxy.pid
            os.write(write, str(pid).encode())
            os.kill(os.getpid(), signal.SIGKILL)
            return pid

    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(started())
        finally:
            os._exit(1)
    os.close(write)
    pid = int(os.read(read, 32))
    os.close(read)
    os.waitpid(child, 0)

    def gone() -> bool:
        # The test process is the subreaper, so an orphan is ours to collect.
        try:
            return os.waitpid(pid, os.WNOHANG)[0] == pid
        except ChildProcessError:
            return not os.path.exists(f"/proc/{pid}")

    asyncio.run(_until(gone))
    os.remove("/run/netpod-test-ingress/haproxy.sock")
