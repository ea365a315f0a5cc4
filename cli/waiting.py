"""Waiting for an object to be some way, by watching it."""

import re
import time
from collections.abc import Callable
from typing import Any

from netpod.client.blocking import BlockingClient
from netpod.errors import NetpodError, NotFound, Unavailable, UsageError
from netpod_cli.context import Target

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
POLL_SECONDS = 0.05


def seconds(text: str) -> float:
    """Read a duration as Go writes it: 30s, 1m30s, 500ms; a bare number is seconds.

    Raises:
        UsageError: it is none.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not text or _DURATION.sub("", text):
        raise UsageError(f"cannot read duration {text!r}: write it like 30s, 2m or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))


def until(
    api: BlockingClient,
    target: Target,
    namespace: str,
    timeout: float,
    done: Callable[[dict[str, Any] | None], bool],
    what: str,
) -> None:
    """Wait until `done(object or None)` holds.

    Raises:
        NetpodError: it did not within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    pause = POLL_SECONDS / 4
    while True:
        try:
            obj = _get(api, target, namespace)
        except Unavailable:
            # It is started again; what is waited for may come all the same.
            if time.monotonic() >= deadline:
                raise
        else:
            if done(obj):
                return
        if time.monotonic() >= deadline:
            raise NetpodError(f"timed out waiting for {what} on {target.qualified}")
        rest(min(pause, deadline - time.monotonic()))
        pause = min(pause * 1.5, POLL_SECONDS * 4)


def _get(api: BlockingClient, target: Target, namespace: str) -> dict[str, Any] | None:
    try:
        obj: dict[str, Any] = api.request("GET", target.path(namespace))
    except NotFound:
        return None
    return obj


def until_gone(api: BlockingClient, target: Target, namespace: str, timeout: float) -> None:
    """Wait until the object is gone, or another has its name."""
    uids: list[str] = []

    def gone(obj: dict[str, Any] | None) -> bool:
        if obj is None:
            return True
        uids.append(obj["metadata"]["uid"])
        return uids[0] != uids[-1]

    until(api, target, namespace, timeout, gone, "deletion")


def rest(duration: float) -> None:
    """Do nothing for so many seconds."""
    import select

    select.select([], [], [], max(0.0, duration))


__all__ = ["rest", "seconds", "until", "until_gone"]
