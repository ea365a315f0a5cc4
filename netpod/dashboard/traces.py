"""Traces that are kept, and new ones: each is a `netpod trace` of its own, as somebody types it.

A trace needs the kernel and a library or two that the control plane does without, so it runs in a process that ends
with it.
"""

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import orjson

from netpod.errors import CommandFailed, NotFound, UsageError
from netpod.linux import process
from netpod.paths import Paths
from netpod.trace import archive

SECONDS = 30.0
AT_ONCE = 2
"""Traces under way; one more waits."""

COMMAND = (sys.executable, "-P", "-c", "from netpod_cli.main import entry; entry()")
_FOUND_A_PROBLEM = 3


class Traces:
    """Of one cluster."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._short: dict[str, dict[str, Any]] = {}

    def listed(self) -> list[dict[str, Any]]:
        """What is kept, the newest first, without the steps. A trace never changes, so each is read once."""
        known, self._short = self._short, {}
        for kept in archive.observe(self._paths):
            found = known.get(kept.name) or _short(kept)
            if found is not None:
                self._short[kept.name] = found
        return list(self._short.values())

    def read(self, name: str, form: str) -> tuple[bytes, str, str]:
        """A kept trace in a form: bytes, media type, file name.

        Raises:
            NotFound: it is not kept, or there is no such form.
        """
        kept = next((k for k in archive.observe(self._paths) if k.name == name), None)
        if kept is None or form not in archive.FORMS:
            raise NotFound(f"trace {name} is not kept as {form}")
        file, media = archive.FORMS[form]
        try:
            return (kept.folder / file).read_bytes(), media, f"{name}.{file.rpartition('.')[2]}"
        except OSError as error:
            raise NotFound(f"trace {name} is gone") from error

    async def run(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Trace what the form of the page says, and return the trace with its `name`.

        Raises:
            UsageError: what the command says of the form.
        """
        argv = [*COMMAND, "--cluster", self._paths.cluster, "trace", *arguments(wanted)]
        async with self._turns:
            try:
                said = (await process.arun([*argv, "-o", "json"], timeout=SECONDS)).stdout
            except CommandFailed as error:
                if error.status != _FOUND_A_PROBLEM:
                    words = error.stderr.strip().removeprefix("error: ")
                    raise UsageError(words or str(error)) from error
                said = error.stdout
        trace: dict[str, Any] = orjson.loads(said)
        names = [kept.name for kept in archive.observe(self._paths)]
        name = next((name for name in names if name.endswith(f"-{trace['id']}")), "")
        return {"name": name, "trace": trace}


def _short(kept: archive.Kept) -> dict[str, Any] | None:
    """A trace as a list shows it; None when it has just been let go of."""
    try:
        data = orjson.loads((kept.folder / archive.FORMS["json"][0]).read_bytes())
    except (OSError, ValueError):
        return None
    fields = {k: data.get(k) for k in ("request", "verdict", "sentence", "duration_ns")}
    return {"name": kept.name, "at_ms": kept.at_ms, **fields}


def arguments(wanted: Mapping[str, Any]) -> list[str]:
    """The command's arguments for a form: `from`, `to`, `protocol` (http, tcp, udp, icmp, dns), `namespace`, `name`.

    Raises:
        UsageError: a field is missing, or is no plain text.
    """
    fields = {
        k: wanted.get(k) or "" for k in ("from", "to", "protocol", "namespace", "query", "sni")
    }
    for name, value in fields.items():
        if not isinstance(value, str) or len(value) > 2000 or value.startswith("-"):
            raise UsageError(
                f"{name}: text of at most 2000 characters that does not begin with '-'"
            )
    if not fields["to"]:
        raise UsageError("to: say where, e.g. http://example.com/ or svc/example-service")
    kinds = {
        "": [fields["to"]],
        "http": [fields["to"]],
        "tcp": ["--tcp", fields["to"]],
        "udp": ["--udp", fields["to"]],
        "icmp": ["--icmp", fields["to"]],
        "dns": ["--udp", fields["to"], "--query", fields["query"]],
    }
    if fields["protocol"] not in kinds:
        raise UsageError(f"protocol: {', '.join(filter(None, kinds))}")
    argv = kinds[fields["protocol"]]
    for option, field in (("--from", "from"), ("-n", "namespace"), ("--sni", "sni")):
        if fields[field]:
            argv = [option, fields[field], *argv]
    return argv
