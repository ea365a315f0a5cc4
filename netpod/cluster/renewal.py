"""Certificates that are near their end are made anew while everything runs.

control plane   twice a day starts this module as a program of its own, which renews what is due and ends: the
                library that makes certificates costs more memory than the rest of a long-lived process
everybody       looks every minute whether the files of its certificate are others, and shows the newest one to
                whoever connects from then on; connections that are there stay
add-ons         read their kubeconfig again when it is another file (client/rest.py)
"""

import asyncio
import logging
import os
import ssl
import sys
from pathlib import Path
from typing import NoReturn

from netpod.cluster import config as configuration
from netpod.cluster import keys
from netpod.cluster.config import ClusterConfig
from netpod.errors import KernelError
from netpod.linux import process
from netpod.paths import MARK

log = logging.getLogger(__name__)
RENEW_SECONDS = 12 * 3600.0
LOOK_SECONDS = 60.0


async def run(config: ClusterConfig, period: float = RENEW_SECONDS) -> NoReturn:
    """Renew what is due, for ever."""
    while True:
        await asyncio.sleep(period)
        await renew(config)


async def renew(config: ClusterConfig) -> None:
    """Have what is due made anew by a process of its own, and wait for it."""
    argv = [sys.executable, "-P", "-m", "netpod.cluster.renewal", config.name]
    try:
        pid = process.spawn(argv, env={**os.environ, MARK: config.name})
    except KernelError:
        log.exception("cannot renew certificates")
        return
    code = os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, pid, 0))[1])
    if code:
        log.error("cannot renew certificates: exit status %d", code)


class Contexts:
    """TLS contexts of one process that show the newest certificate.

    Args:
        folder: Where certificates and keys lie, ROLE.crt and ROLE.key.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: list[tuple[ssl.SSLContext, str]] = []
        self._seen: dict[str, tuple[int, int]] = {}

    def keep(self, context: ssl.SSLContext, role: str) -> ssl.SSLContext:
        """Keep a context that has a role's certificate up to date from now on, and return it."""
        self._seen.setdefault(role, self._files(role))
        self._kept.append((context, role))
        return context

    async def run(self, period: float = LOOK_SECONDS) -> NoReturn:
        """Look for newer files, for ever."""
        while True:
            await asyncio.sleep(period)
            self.refresh()

    def refresh(self) -> None:
        """Load what is newer than what was loaded."""
        changed = {}
        for role, seen in self._seen.items():
            try:
                found = self._files(role)
            except FileNotFoundError:
                continue
            if found != seen:
                changed[role] = found
        for context, role in self._kept:
            if role not in changed:
                continue
            try:
                context.load_cert_chain(self._folder / f"{role}.crt", self._folder / f"{role}.key")
            except (OSError, ssl.SSLError) as error:
                # Half of the pair is the new one yet: the next look finds both.
                log.info("certificate %s: %s", role, error)
                del changed[role]
        self._seen |= changed

    def _files(self, role: str) -> tuple[int, int]:
        certificate, key = (self._folder / f"{role}.{kind}" for kind in ("crt", "key"))
        return certificate.stat().st_mtime_ns, key.stat().st_mtime_ns


def main(name: str) -> None:
    """Renew what is due of a cluster's certificates; kubeconfigs are written anew with them."""
    from netpod.api import meta
    from netpod.apiserver import pki

    config = configuration.load(name)
    if pki.due(config.paths.pki, meta.now()):
        keys.ensure(config)


if __name__ == "__main__":
    main(sys.argv[1])
