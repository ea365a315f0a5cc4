"""What it costs to look at a cluster of 20 nodes and 1,000 pods: sampling, scrapes, and the dashboard.

Run as root: `python benchmarks/monitoring.py [--nodes N] [--pods N]`; needs Debian's chromium for the pictures.
Everything happens in private namespaces, which go with the program. Pods are stand-ins. Shares are of one processor.

- sampling: CPU time of all processes for one sample of every node and for telling it to the API server, over the 15 s
  between two: what asking for a fresh sample takes more than asking for the same again, and the telling;
- scrape: CPU time of the control plane for /metrics/kube-state, the first and the following ones, over 15 s; the floor
  is the bare list of the same pods;
- picture: from the navigation to the last of all pods in the page, in Chromium without a screen;
- frame: how long the page takes to draw after a change, with all pods in it;
- watched: CPU time of the control plane while a page is open and nothing happens, less what it takes without a page;
- deaf: what the control plane's memory grows by for a page that asks for all pods ten times and never reads, while each
  of them changes several times, less what it grows by without the page.
"""

import argparse
import base64
import os
import shutil
import socket
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parent))
import pods as scaling
import startup

from netpod.client.blocking import MERGE_PATCH, BlockingClient
from netpod.cluster import role
from netpod.cluster.role import Role
from netpod.linux import process
from netpod.paths import Paths

SHARE, PICTURE_SECONDS, DEAF_MEGABYTES = 0.01, 1.0, 64.0
FRAME_MS = 100.0
PERIOD, IDLE_SECONDS = 15.0, 20.0
CHANGES = 3
STATS = "/apis/stats.netpod.dev/v1/nodestats"
CHROMIUM = shutil.which("chromium")
FLAGS = "--no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run".split()


def main() -> int:
    """Measure and print; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--pods", type=int, default=1000)
    arguments = parser.parse_args()
    nodes, pods = max(1, min(arguments.nodes, 20)), max(1, min(arguments.pods, 1000))
    if os.environ.get(startup.INSIDE) != "1":
        startup.enter_private_namespaces()
    startup.netpod("up", "--nodes", str(nodes))
    try:
        apply = [*startup.NETPOD, "--cluster", startup.NAME, "apply", "-f", "-"]
        process.run(apply, stdin=scaling.MANY.encode())
        client = BlockingClient(Paths(startup.NAME).api_socket)
        scaling._scale_and_see(
            client, pods, lambda seen: sum(map(scaling._ready, seen.values())) == pods
        )
        threading.Event().wait(5)
        print(
            f"{nodes} nodes, {pods} pods; load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors"
        )
        good = [_sampling(client, nodes), _scrapes(client), *_pictures(client, pods)]
        client.close()
    finally:
        startup.netpod("down")
    return int(not all(good))


def _said(what: str, found: float, limit: float, unit: str, note: str = "") -> bool:
    good = found <= limit
    print(
        f"{what:10} {found:8.2f} {unit}  limit {limit:g} {unit}{'' if good else '  MISSED'}  {note}"
    )
    return good


def _cpu() -> float:
    """CPU seconds of all processes of the cluster."""
    return scaling._cpu()


def _own_cpu() -> float:
    """CPU seconds of the control plane."""
    return scaling._ticks(role.holder(Paths(startup.NAME), Role("controlplane")))


def _sampling(client: BlockingClient, nodes: int) -> bool:
    names = [node["metadata"]["name"] for node in client.request("GET", "/api/v1/nodes")["items"]]

    def ask() -> float:
        before = _cpu()
        for name in names:
            client.raw("GET", f"/api/v1/nodes/{name}/proxy/stats/summary")
        return _cpu() - before

    fresh, again, told = [], [], []
    for _ in range(5):
        threading.Event().wait(3)  # a younger sample would be given again
        fresh.append(ask())
        again.append(ask())
        summaries = [client.raw("GET", f"{STATS}/{name}") for name in names]
        before = _own_cpu()
        for name, summary in zip(names, summaries, strict=True):
            client.raw("PUT", f"{STATS}/{name}", body=summary)
        told.append(_own_cpu() - before)
    idle, began = _cpu(), time.monotonic()
    threading.Event().wait(2 * PERIOD)
    idle = (_cpu() - idle) / (time.monotonic() - began)
    # The first round makes TLS connections and imports a library in each node's process.
    spent = statistics.mean(fresh[1:]) - statistics.mean(again[1:]) + statistics.mean(told[1:])
    note = f"{spent * 1e3:.0f} ms a round; the idle cluster takes {idle:.1%} with all it does"
    return _said("sampling", 100 * spent / PERIOD, 100 * SHARE, "%", note)


def _scrapes(client: BlockingClient) -> bool:
    spent, took, size = [], [], 0
    for _ in range(5):
        before, began = _own_cpu(), time.monotonic()
        size = len(client.raw("GET", "/metrics/kube-state"))
        took.append(time.monotonic() - began)
        spent.append(_own_cpu() - before)
    before = _own_cpu()
    for _ in range(4):
        client.raw("GET", scaling.PODS)
    floor = (_own_cpu() - before) / 4
    share = statistics.mean(spent[1:]) / PERIOD
    note = (
        f"{took[0] * 1e3:.0f} ms the first, then {statistics.median(took[1:]) * 1e3:.0f} ms, {size / 1e6:.1f} MB; "
        f"{share * PERIOD / max(floor, 1e-3):.1f} times the CPU of a bare list of the pods"
    )
    return _said("scrape", 100 * share, 100 * SHARE, "%", note)


def _pictures(client: BlockingClient, pods: int) -> list[bool]:
    link = (
        process.run([*startup.NETPOD, "--cluster", startup.NAME, "dashboard"])
        .stdout.decode()
        .strip()
    )
    found = [_deaf(client, link)]
    if CHROMIUM is None:
        print("no chromium: no pictures")
        return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(link)
        last = page.locator('[data-key^="pod/default/"]').nth(pods - 1)
        times = []
        for _ in range(4):
            page.goto("about:blank")
            began = time.monotonic()
            page.goto(link.partition("?")[0], wait_until="commit")
            last.wait_for(timeout=60_000)
            times.append(time.monotonic() - began)
        note = f"of {', '.join(f'{it:.2f}' for it in times)}; the first without a warm process"
        found.append(_said("picture", statistics.median(times[1:]), PICTURE_SECONDS, "s", note))
        found.append(_frames(client, page))
        page.goto("about:blank")
        alone = _share()
        page.goto(link.partition("?")[0])
        last.wait_for(timeout=60_000)
        threading.Event().wait(2)
        watched = _share() - alone
        note = f"the control plane without a page {alone:.2%}"
        found.append(_said("watched", 100 * max(0.0, watched), 100 * SHARE, "%", note))
        browser.close()
    return found


def _share() -> float:
    before, began = _own_cpu(), time.monotonic()
    threading.Event().wait(IDLE_SECONDS)
    return (_own_cpu() - before) / (time.monotonic() - began)


def _frames(client: BlockingClient, page: Any) -> bool:
    """How long the page's own work for one picture is, while pods change."""
    page.evaluate(
        """() => {
          globalThis.frames = [];
          const ask = globalThis.requestAnimationFrame;
          globalThis.requestAnimationFrame = (work) => ask((at) => {
            const began = performance.now();
            work(at);
            globalThis.frames.push(performance.now() - began);
          });
        }"""
    )
    names = [pod["metadata"]["name"] for pod in client.request("GET", scaling.PODS)["items"]]
    for number, name in enumerate(names[:200]):
        _touch(client, name, number)
    page.wait_for_timeout(500)
    frames = sorted(page.evaluate("globalThis.frames"))
    worst = frames[int(len(frames) * 0.95)] if frames else float("inf")
    middle, last = (statistics.median(frames), frames[-1]) if frames else (0.0, 0.0)
    note = f"p95 of {len(frames)}; median {middle:.1f}, worst {last:.1f}"
    return _said("frame", worst, FRAME_MS, "ms", note)


def _touch(client: BlockingClient, name: str, number: int) -> None:
    body = {"metadata": {"annotations": {"benchmark": str(number)}}}
    client.request("PATCH", f"{scaling.PODS}/{name}", body=body, content_type=MERGE_PATCH)


def _resident() -> float:
    """MB of the control plane."""
    pid = role.holder(Paths(startup.NAME), Role("controlplane"))
    text = Path(f"/proc/{pid}/statm").read_text()
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _deaf(client: BlockingClient, link: str) -> bool:
    """Ask for all pods on a WebSocket, and never read a byte of what comes."""
    parts = urlsplit(link)
    token = parse_qs(parts.query)["token"][0]
    names = [pod["metadata"]["name"] for pod in client.request("GET", scaling.PODS)["items"]]

    def change() -> None:
        for turn in range(CHANGES):
            for name in names:
                _touch(client, name, turn)

    change()
    floor = _resident()
    change()  # whoever changes so much takes memory of its own
    floor = _resident() - floor
    with socket.create_connection(("127.0.0.1", parts.port or 80)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{parts.port}\r\nAuthorization: Bearer {token}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n"
        )
        deaf.sendall(head.encode())
        assert deaf.recv(12) == b"HTTP/1.1 101"
        before = _resident()
        for number in range(10):
            _frame(deaf, {"open": number, "path": "/api/v1/pods"})
        threading.Event().wait(3)
        change()
        grown = _resident() - before
    events = CHANGES * len(names)
    note = f"ten collections of {len(names)} pods, {events} events each; without it {floor:.1f} MB"
    return _said("deaf", grown - floor, DEAF_MEGABYTES, "MB", note)


def _frame(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send one masked text frame of less than 126 bytes. Source: RFC 6455, section 5.2."""
    body, mask = orjson.dumps(message), os.urandom(4)
    assert len(body) < 126
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(body))
    connection.sendall(bytes((0x81, 0x80 | len(body))) + mask + masked)


if __name__ == "__main__":
    sys.exit(main())
