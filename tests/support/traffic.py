"""A client that does not stop: what it saw while something else happened."""

import http.client
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from netpod.linux import netns
from tests.support import wait

VIP = "198.51.100.1"
TIMEOUT_SECONDS = 5.0


@dataclass(slots=True)
class Load:
    """Answers counted, failures in words. `slowest` is seconds of one request."""

    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @property
    def requests(self) -> int:
        return self.answers.total() + len(self.failures)

    def more(self, count: int = 20) -> None:
        """Wait until so many further requests were answered or failed."""
        goal = self.requests + count
        wait.until(lambda: self.requests >= goal, f"{count} more requests", 30)

    def clean(self) -> None:
        """Fail unless there were requests and every one was answered 200."""
        assert not self.failures, f"{len(self.failures)} of {self.requests}: {self.failures[:5]}"
        assert self.answers, "no request was made"


class _In(http.client.HTTPConnection):
    def __init__(self, name: str, address: str, port: int, timeout: float) -> None:
        super().__init__(address, port, timeout=timeout)
        self._netns = name

    def connect(self) -> None:
        self.sock = netns.socket_in(self._netns, socket.AF_INET, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect((self.host, self.port))


def request(
    name: str,
    address: str = VIP,
    *,
    port: int = 80,
    host: str = "example.com",
    path: str = "/",
    timeout: float = TIMEOUT_SECONDS,
) -> tuple[int, str]:
    """Send one GET from a namespace over a new connection; return status and body.

    Raises:
        OSError: refused, timed out, or cut off.
    """
    connection = _In(name, address, port, timeout)
    try:
        connection.request("GET", path, headers={"Host": host, "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except http.client.HTTPException as error:
        raise ConnectionError(f"cut off: {error!r}") from error
    finally:
        connection.close()


@contextmanager
def load(
    name: str, *, address: str = VIP, path: str = "/hostname", gap: float = 0.005
) -> Iterator[Load]:
    """Ask the ingress, or another address, one request after the other until the block ends; each connects anew."""
    seen = Load()
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            began = time.monotonic()
            try:
                status, body = request(name, address, path=path)
                if status == 200:
                    seen.answers[body.strip()] += 1
                else:
                    seen.failures.append(_said(seen, f"{status} {body.strip()[:200]}"))
            except OSError as error:
                seen.failures.append(_said(seen, repr(error)))
            seen.slowest = max(seen.slowest, time.monotonic() - began)
            stop.wait(gap)

    thread = threading.Thread(target=work, name="load")
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _said(seen: Load, what: str) -> str:
    return f"+{time.monotonic() - seen.began:.3f} s, request {seen.requests + 1}: {what}"


def hostname(name: str, address: str) -> str:
    """Which pod answers at an address now; "" while nobody does."""
    try:
        return request(name, address, path="/hostname", timeout=1)[1].strip()
    except OSError:
        return ""
