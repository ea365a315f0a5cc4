"""Where the dashboard is and who may look: the file that `netpod dashboard` makes its link from.

/run/netpod/NAME/dashboard.json   port, and one token for those who look and one for those who edit; mode 0600
"""

import os
import secrets
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from netpod.paths import Paths

ADDRESS = "127.0.0.1"
PORT = 8001
"""Taken when it is free; also the port that the Vagrantfile forwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a link is made of; tokens are 43 characters of base64."""

    port: int
    view: str
    edit: str

    def url(self, *, edit: bool = False) -> str:
        """The address to open; the token is in its query once, then in a cookie."""
        return f"http://{ADDRESS}:{self.port}/?token={self.edit if edit else self.view}"


def listen(port: int = PORT) -> socket.socket:
    """Take a port of 127.0.0.1: the usual one, or any when somebody has it."""
    for wanted in (port, 0):
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((ADDRESS, wanted))
        except OSError:
            listening.close()
            if not wanted:
                raise
            continue
        listening.listen(128)
        listening.setblocking(False)
        return listening
    raise AssertionError("a free port is found, or the kernel says why not")


def load(paths: Paths) -> Link | None:
    """The link of a cluster, None while it has none."""
    try:
        return Link(**orjson.loads(_file(paths).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def save(paths: Paths, port: int) -> Link:
    """Write the link down, with the tokens it had before: a bookmark survives a restart of the control plane."""
    known = load(paths)
    link = Link(
        port=port,
        view=known.view if known else secrets.token_urlsafe(32),
        edit=known.edit if known else secrets.token_urlsafe(32),
    )
    fresh = _file(paths).with_suffix(".new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, orjson.dumps(asdict(link)))
    finally:
        os.close(fd)
    fresh.replace(_file(paths))
    return link


def _file(paths: Paths) -> Path:
    return paths.run / "dashboard.json"
