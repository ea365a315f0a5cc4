"""Logs: lines a second from many containers into files without loss, delay of a follower, speed of a search.

    python benchmarks/logs.py [--containers 100] [--lines 2000] [--megabytes 1000]     as root

What is measured against: `grep -c` of the same files in the same run for the search, the bare copy of the same bytes
from the same FIFOs for the intake. What a follower sees is 1,000 lines a second from all containers together, written
into FIFOs and taken by one process, as a shim does; the delay is from a container's write to the line's text in
`netpod logs --all -f`. Everything happens in private namespaces, which go with the program.
"""

import argparse
import os
import re
import selectors
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import startup

from netpod.cluster import logfiles, logs
from netpod.cluster.logfiles import Source
from netpod.linux import process
from netpod.paths import Paths
from netpod.shim import logs as shim

RATE, SECONDS = 1000, 5
FOLLOW_MS = 200.0


def main() -> int:
    """Print one line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--containers", type=int, default=100)
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--megabytes", type=int, default=1000)
    options = parser.parse_args()
    if os.environ.get(startup.INSIDE) != "1":
        startup.enter_private_namespaces()
    folder = Path(tempfile.mkdtemp(prefix="netpod-logs."))
    try:
        intake(folder, options.containers, options.lines)
        good = follow(options.containers)
        search(folder, options.megabytes)
    finally:
        shutil.rmtree(folder)
    return int(not good)


def intake(folder: Path, containers: int, lines: int) -> None:
    """All containers write as fast as they can; one process takes it all, as a shim does."""
    text = b"".join(
        b"line %06d of a container that talks about nothing much\n" % n for n in range(lines)
    )
    for name, wanted in (("bare copy", False), ("netpod", True)):
        selector = selectors.DefaultSelector()
        writers = []
        for number in range(containers):
            place = folder / f"{name}-{number}"
            place.mkdir()
            reader, writer = shim.make_fifo(place / "fifo")
            writers.append(writer)
            taken = shim.Log(reader, shim.File(place / "0.log")) if wanted else None
            out = os.open(place / "raw", os.O_WRONLY | os.O_CREAT) if not wanted else -1
            selector.register(reader, selectors.EVENT_READ, (taken, out))
        child = os.fork()
        if child == 0:
            threads = [threading.Thread(target=_write, args=(fd, text)) for fd in writers]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            os._exit(0)
        for fd in writers:
            os.close(fd)
        began, cpu = time.perf_counter(), time.process_time()
        while selector.get_map():
            for key, _ in selector.select():
                log, out = key.data
                if log is not None:
                    if not log.pump():
                        selector.unregister(key.fileobj)
                        log.finish()
                    continue
                data = os.read(int(key.fd), 65536)
                os.write(out, data)
                if not data:
                    selector.unregister(key.fileobj)
                    os.close(key.fd)
                    os.close(out)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        os.waitpid(child, 0)
        total = containers * lines
        if wanted:
            kept = sum(
                path.read_bytes().count(b"\n")
                for number in range(containers)
                for path in (folder / f"{name}-{number}").glob("*.log*")
            )
            assert kept == total, f"{total - kept} lines lost"
        print(f"{name}: {total / took:,.0f} lines/s, {cpu / total * 1e6:.2f} µs CPU a line")


def _write(fd: int, text: bytes) -> None:
    view = memoryview(text)
    while view:
        view = view[os.write(fd, view) :]


def follow(containers: int) -> bool:
    """How late a follower of everything sees a line, while containers write RATE lines a second for SECONDS."""
    paths = Paths("logbench")
    selector = selectors.DefaultSelector()
    writers = []
    for number in range(containers):
        place = paths.pod_logs("default", f"pod-{number}", f"uid-{number}") / "web"
        place.mkdir(parents=True)
        reader, writer = shim.make_fifo(place / "fifo")
        writers.append(writer)
        selector.register(
            reader, selectors.EVENT_READ, shim.Log(reader, shim.File(place / "0.log"))
        )
        (place / "0.log").touch()
    taking = os.fork()
    if taking == 0:
        for fd in writers:
            os.close(fd)
        while selector.get_map():
            for key, _ in selector.select():
                if not key.data.pump():
                    selector.unregister(key.fileobj)
                    key.data.finish()
        os._exit(0)
    writing = os.fork()
    if writing == 0:
        began = time.monotonic()
        for number in range(RATE * SECONDS):
            threading.Event().wait(max(0.0, began + number / RATE - time.monotonic()))
            os.write(writers[number % containers], b"%d\n" % time.monotonic_ns())
        os._exit(0)
    for fd in writers:
        os.close(fd)
    late: list[float] = []
    before = time.process_time()
    for batch in logs.follow(paths, logs.Choice()):
        now = time.monotonic_ns()
        late += [(now - int(entry.text)) / 1e6 for entry in batch]
        if len(late) >= RATE * SECONDS:
            break
    share = (time.process_time() - before) / SECONDS
    os.waitpid(writing, 0)
    os.waitpid(taking, 0)
    late.sort()
    shown = ", ".join(
        f"{name} {late[int(len(late) * part)]:.0f}" for name, part in (("p50", 0.5), ("p99", 0.99))
    )
    print(
        f"follow: {shown}, worst {late[-1]:.0f} ms late of {FOLLOW_MS:.0f} allowed; {share:.0%} of a processor"
    )
    return late[int(len(late) * 0.99)] <= FOLLOW_MS


def search(folder: Path, megabytes: int) -> None:
    """One needle in that many megabytes of log, in files of 10 MiB as rotation leaves them."""
    line = b"2026-01-01T00:00:00.000000000Z stdout F GET /things/%08d 200 in 3 ms, nothing to see here\n"
    files = []
    for number in range(max(1, megabytes // 10)):
        path = folder / f"search-{number}.log"
        path.write_bytes(b"".join(line % n for n in range(10_000_000 // len(line % 0))))
        files.append(path)
    with files[-1].open("ab") as file:
        file.write(line.replace(b"GET", b"needle") % 1)
    size = sum(path.stat().st_size for path in files)
    for _ in range(2):  # the second time all is in the page cache
        began = time.perf_counter()
        process.run(["grep", "-c", "needle", str(files[-1])])
        process.run(["sh", "-c", f"cat {folder}/search-*.log | grep -c needle"])
        grep = time.perf_counter() - began
    began = time.perf_counter()
    pattern = re.compile(rb"needle")
    found = sum(
        1 for path in files for _ in logfiles.entries(Source(parts=(path,)), pattern=pattern)
    )
    took = time.perf_counter() - began
    assert found == 1
    print(f"search: {size / took / 1e6:,.0f} MB/s; grep {size / grep / 1e6:,.0f} MB/s")


if __name__ == "__main__":
    sys.exit(main())
