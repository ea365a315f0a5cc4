"""What the ingress proxy says it did with the traced request: its access line, from the container's log.

The proxy is the only one that knows which rule it matched and which connection it opened for which request; the
kernel sees two connections that have nothing in common. Lines are JSON objects (netpod/ingress/haproxy.py) in a CRI
log file (`TIMESTAMP STREAM TAG LINE`); only those written after the log was opened are read.

Source: Kubernetes CRI log format, pkg/kubelet/kuberuntime/logs; HAProxy configuration manual, 8.2.4 Custom log format.
"""

import json
import os
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from netpod.trace.accessline import AccessLine
from netpod.trace.model import Address

_RULE = ("host", "path_type", "path")


class ProxyLog:
    """The log files of the ingress pods, read from where they ended when this was opened.

    Args:
        places: Directories `.../NAMESPACE_POD_UID/CONTAINER` or files.
    """

    def __init__(self, places: Sequence[Path]) -> None:
        self._places = tuple(places)
        self._offsets = {path: path.stat().st_size for path in self._files()}
        self._rest: dict[Path, bytes] = {}

    @property
    def readable(self) -> bool:
        """Whether there is any log file to read."""
        return bool(self._files())

    def read(self) -> list[AccessLine]:
        """Return the access lines that came since the last call; never blocks."""
        lines = []
        for path in self._files():
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                data = self._rest.pop(path, b"") + file.read()
                self._offsets[path] = file.tell()
            *whole, rest = data.split(b"\n")
            self._rest[path] = rest
            lines += [parsed for line in whole if (parsed := parse_line(line)) is not None]
        return lines

    def _files(self) -> list[Path]:
        found: list[Path] = []
        for place in self._places:
            if place.is_dir():
                # A restarted container writes the next RESTARTS.log.
                found += sorted(place.glob("*.log"))
            elif place.is_file():
                found.append(place)
        return [path for path in found if os.access(path, os.R_OK)]


def parse_line(line: bytes) -> AccessLine | None:
    """Read one line of a container log, or return None when it is not an access line (pure)."""
    start = line.find(b"{")
    if start < 0:
        return None
    try:
        fields = json.loads(line[start:])
    except ValueError:
        return None
    if not isinstance(fields, dict) or not _text(fields, "trace"):
        return None
    return AccessLine(
        trace_id=_text(fields, "trace"),
        client=_address(fields, "client"),
        ingress=_text(fields, "ingress"),
        rule=" ".join(filter(None, (_text(fields, f"rule_{n}") for n in _RULE))),
        service=_text(fields, "backend"),
        backend=_text(fields, "haproxy_backend"),
        source=_address(fields, "source"),
        server=_address(fields, "destination"),
        status=_number(_text(fields, "status")),
        ended=_text(fields, "ended"),
        kind=_text(fields, "kind") or "Ingress",
        raw=line[start:].decode(errors="replace").strip(),
    )


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name, "")
    text = "" if value is None else str(value)
    return "" if text == "-" else text


def _number(text: str) -> int:
    return int(text) if text.lstrip("-").isdigit() else 0


def _address(fields: dict[str, object], name: str) -> Address | None:
    ip, _, port = _text(fields, name).rpartition(":")
    if not ip or not port.isdigit():
        return None
    try:
        return Address(ip_address(ip), int(port))
    except ValueError:
        return None
