"""Waiting goes on while the API server is started again."""

import socket
import threading
from pathlib import Path

import pytest

from netpod.api import registry
from netpod.client.blocking import BlockingClient
from netpod.errors import Unavailable
from netpod_cli import waiting
from netpod_cli.context import Target

POD = Target(registry.lookup("pods"), "a")


def _serve_one(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


def test_an_api_server_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    """Its socket is missing at first; what is there then is what was waited for."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:

        def appear() -> None:
            listener.bind(str(path))
            listener.listen()
            _serve_one(listener)

        timer = threading.Timer(0.1, appear)
        timer.start()
        client = BlockingClient(path)
        waiting.until(client, POD, "default", 5.0, lambda obj: obj == {}, "creation")
        client.close()
        timer.join()


def test_an_api_server_that_stays_away_is_the_error(tmp_path: Path) -> None:
    """Not that the condition was not met."""
    with pytest.raises(Unavailable):
        waiting.until(BlockingClient(tmp_path / "none"), POD, "default", 0.1, bool, "creation")
