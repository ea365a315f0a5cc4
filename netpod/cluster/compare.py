"""The same request under several proxy modes: change the mode of the live cluster, trace, change it back.

What the mode was is on record while it is another: whatever ends the comparison, the next netpod command finds the
record with nobody behind it and puts the mode back.
"""

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from netpod.client.blocking import BlockingClient
from netpod.cluster import config as configuration
from netpod.cluster import proxymode, without
from netpod.cluster.config import ClusterConfig
from netpod.errors import NetpodError, UsageError
from netpod.paths import Paths
from netpod.proxy.config import Mode
from netpod.trace import awaitable, run
from netpod.trace.model import Trace
from netpod.trace.run import Question

TIMEOUT = 30.0
"""Seconds that all nodes may take to change."""


def modes(text: str) -> tuple[list[Mode], dict[str, str]]:
    """Read "iptables,nftables,ipvs": the modes to compare, and why others are left out.

    Raises:
        UsageError: a name is no mode's, or fewer than two are left.
    """
    chosen: list[Mode] = []
    missing: dict[str, str] = {}
    known = {*map(str, Mode), "ipvs"}
    for name in dict.fromkeys(part.strip() for part in text.split(",")):
        if name not in known:
            raise UsageError(f"cannot compare {name!r}: there are {', '.join(sorted(known))}")
        try:
            chosen.append(configuration.check_proxy_mode(name))
        except NetpodError as error:
            missing[name] = str(error)
    if len(chosen) < 2:
        why = "; ".join(missing.values())
        raise UsageError(
            f"cannot compare {text}: name two modes or more" + (f" ({why})" if why else "")
        )
    return chosen, missing


def compare(
    paths: Paths, client: BlockingClient, question: Question, chosen: Sequence[Mode]
) -> Iterator[tuple[Mode, Trace]]:
    """Trace one request under each mode; whatever happens, the cluster has its own mode again afterwards.

    Raises:
        UsageError: kube-proxy is not ours.
        NetpodError: another comparison runs, or a node does not change its mode; and all of trace.run.trace.
    """
    config = configuration.load(paths.cluster)
    without.require_own(config.without, without.KUBE_PROXY, "compare proxy modes")
    with _kept(paths, client, config):
        for mode in chosen:
            proxymode.choose(client, mode)
            proxymode.wait(config, [n.name for n in config.running], mode, timeout=TIMEOUT)
            yield mode, run.trace(paths, question, awaitable.observe_objects(client))


def put_back(paths: Paths, client: BlockingClient) -> bool:
    """Give a cluster the mode back that a killed comparison changed; one under way is left alone.

    Returns:
        Whether there was something to put back.
    """
    file = record(paths)
    if not file.exists():
        return False
    with file.open("r") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        try:
            data = json.load(held)["data"]
        except (ValueError, KeyError):
            data = None
        if data is not None:
            proxymode.restore(client, data)
        file.unlink(missing_ok=True)
    return True


def record(paths: Paths) -> Path:
    """Where the mode is kept that is to be put back."""
    return paths.run / "compare.kept"


@contextmanager
def _kept(paths: Paths, client: BlockingClient, config: ClusterConfig) -> Iterator[None]:
    put_back(paths, client)
    data: dict[str, Any] = proxymode.data(client)
    before = {n.name: proxymode.observe(config, n.name) for n in config.running}
    file = record(paths)
    try:
        held = file.open("x")
    except FileExistsError:
        raise NetpodError("cannot compare: another comparison of this cluster runs") from None
    with held:
        fcntl.flock(held, fcntl.LOCK_EX)
        json.dump({"data": data}, held)
        held.flush()
        try:
            yield
        finally:
            proxymode.restore(client, data)
            file.unlink(missing_ok=True)
            for node, found in before.items():
                if len(found) == 1:
                    proxymode.wait(config, [node], next(iter(found)), timeout=TIMEOUT)
