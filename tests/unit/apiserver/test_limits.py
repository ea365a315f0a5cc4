"""How much one may ask at once, and what is written down of it."""

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest

from netpod import errors
from netpod.apiserver.authentication import MASTERS, User
from netpod.apiserver.limits import Limits
from tests.unit.apiserver.support import CONFIG, CONFIGMAPS, configmap, serving

JANE = User(name="jane")
ADMIN = User(name="admin", groups=frozenset({MASTERS}))


def test_one_too_many_is_told_when_to_come_back() -> None:
    """Reading and writing have places of their own; administrators always find one."""
    limits = Limits(reading=1, writing=1, watches=1)
    with limits.flight(JANE, "get"), limits.flight(JANE, "create"):
        with pytest.raises(errors.TooManyRequests) as caught, limits.flight(JANE, "list"):
            pass
        assert caught.value.details["retryAfterSeconds"] == 1
        with limits.flight(ADMIN, "get"):
            pass
    with limits.flight(JANE, "get"):
        pass


def test_watches_are_counted_per_user() -> None:
    """One user's watches do not take another's places; the cluster's own components have no limit."""
    limits = Limits(reading=1, writing=1, watches=1)
    with limits.watching(JANE), limits.watching(ADMIN):
        with pytest.raises(errors.TooManyRequests), limits.watching(JANE):
            pass
        with limits.watching(JANE, exempt=True), limits.watching(JANE, exempt=True):
            pass
    with limits.watching(JANE):
        pass


def test_too_many_watches_are_refused_over_http(tmp_path: Path) -> None:
    """The answer is 429 with Retry-After; a watch that ended gives its place back."""

    async def main() -> None:
        config = dataclasses.replace(CONFIG, max_watches=1)
        headers = {"Impersonate-User": "x", "Impersonate-Group": "system:masters"}
        async with asyncio.timeout(20), serving(tmp_path, config) as api:
            url = f"{api.base}{CONFIGMAPS}"
            watching = {"watch": "true"}
            async with api.watch(CONFIGMAPS, headers=headers):
                async with api.session.get(url, params=watching, headers=headers) as answer:
                    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
            while True:
                async with api.session.get(url, params=watching, headers=headers) as answer:
                    if answer.status == 200:
                        break
                await asyncio.sleep(0.01)

    asyncio.run(main())


def test_large_headers_are_refused(tmp_path: Path) -> None:
    """A selector of some kilobytes is served; a header of a megabyte ends in 400."""

    async def main() -> None:
        async with asyncio.timeout(20), serving(tmp_path) as api:
            words = ",".join(f"w{n:05}" for n in range(3000))
            assert (await api("GET", CONFIGMAPS, labelSelector=f"a in ({words})"))[0] == 200
            code, _ = await api("GET", CONFIGMAPS, headers={"X-Flood": "x" * 1_000_000})
            assert code == 400

    asyncio.run(main())


def test_every_request_leaves_a_line(tmp_path: Path) -> None:
    """Who, on whose behalf, what, and how it ended; the file is private and may be moved away."""
    log = tmp_path / "audit.log"

    async def main() -> None:
        config = dataclasses.replace(CONFIG, audit_log=log)
        async with asyncio.timeout(20), serving(tmp_path, config) as api:
            await api.create(CONFIGMAPS, configmap("a", secret="word"))
            await api("GET", CONFIGMAPS, headers={"Impersonate-User": "jane"})
            log.rename(tmp_path / "audit.log.1")
            await api("GET", "/api/v1/nonsense")

    asyncio.run(main())
    moved = tmp_path / "audit.log.1"
    assert moved.stat().st_mode & 0o777 == 0o600
    assert "word" not in moved.read_text()
    created, refused = map(json.loads, moved.read_text().splitlines())
    assert (created["verb"], created["responseStatus"]["code"]) == ("create", 201)
    assert created["objectRef"] == {
        "resource": "configmaps",
        "namespace": "default",
        "apiVersion": "v1",
    }
    assert refused["user"]["username"] == "system:admin"
    assert refused["impersonatedUser"]["username"] == "jane"
    assert refused["annotations"] == {"authorization.k8s.io/decision": "forbid"}
    (unknown,) = map(json.loads, log.read_text().splitlines())
    assert unknown["responseStatus"]["code"] == 404
