"""/healthz, /livez and /readyz: one word, or with ?verbose a line for each check; /livez/etcd asks one check.

Source: k8s.io/apiserver pkg/server/healthz/healthz.go.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from netpod import errors
from netpod.apiserver.calls import Reply

if TYPE_CHECKING:
    from multidict import MultiMapping

TEXT = "text/plain; charset=utf-8"
STORE_SECONDS = 2.0
"""How long the store may take to answer."""

Check = Callable[[], Awaitable[bool]]
GROUPS = ("healthz", "livez", "readyz")


async def always() -> bool:
    """Whoever answers is alive."""
    return True


class Health:
    """Named checks, asked anew for each request.

    Args:
        store: Asks the store for anything; whether it answers is what counts.
        ready: Whether requests are answered.
    """

    def __init__(self, store: Callable[[], Awaitable[object]], ready: Callable[[], bool]) -> None:
        self._store = store
        self._ready = ready
        self._checks: Mapping[str, Check] = {
            "ping": always,
            "log": always,
            "etcd": self.stored,
            "poststarthook/rbac/bootstrap-roles": self._started,
        }
        self._ready_checks = {**self._checks, "shutdown": self._started}

    async def stored(self) -> bool:
        """Whether the store answers."""
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await self._store()
        except (TimeoutError, errors.ApiError):
            return False
        return True

    async def _started(self) -> bool:
        return self._ready()

    async def answer(self, path: str, query: "MultiMapping[str]") -> Reply:
        """The answer at a path whose first element is one of GROUPS.

        Raises:
            UnknownPath: there is no check of that name.
        """
        group, _, name = path.strip("/").partition("/")
        checks = self._ready_checks if group == "readyz" else self._checks
        if name:
            check = checks.get(name)
            if check is None:
                raise errors.UnknownPath(f"there is no check at {path}")
            passed = await check()
            text = "ok" if passed else "internal server error: reason withheld"
            return _reply(passed, text)
        excluded = dict.fromkeys(query.getall("exclude", []))
        lines, failed = [], False
        for name, check in checks.items():
            if name in excluded:
                del excluded[name]
                lines.append(f"[+]{name} excluded: ok")
            elif await check():
                lines.append(f"[+]{name} ok")
            else:
                failed = True
                lines.append(f"[-]{name} failed: reason withheld")
        if excluded:
            names = ", ".join(f'"{name}"' for name in sorted(excluded))
            lines.append(f"warn: some health checks cannot be excluded: no matches for {names}")
        if failed:
            return _reply(False, "\n".join([*lines, f"{group} check failed", ""]))
        if "verbose" in query:
            return _reply(True, "\n".join([*lines, f"{group} check passed", ""]))
        return _reply(True, "ok")


def _reply(passed: bool, text: str) -> Reply:
    return Reply(
        status=200 if passed else 500,
        body=text.encode(),
        content_type=TEXT,
        headers=(("X-Content-Type-Options", "nosniff"),),
    )
