"""Random histories against a model: state, listings of the past and watches replay exactly."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netpod import errors
from netpod.store.sqlite import SqliteStore
from netpod.store.store import EventType, Revision

KEYS = st.sampled_from(["/m/a", "/m/b", "/m/c/d", "/n/a"])
STEP = st.one_of(
    st.tuples(st.just("put"), KEYS),
    st.tuples(st.just("put"), KEYS),
    st.tuples(st.just("stale"), KEYS),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("compact"), st.just("")),
    st.tuples(st.just("reopen"), st.just("")),
)


async def live_through(path: Path, steps: list[tuple[str, str]]) -> None:
    """Apply steps to a store and to a list of all its states, and compare."""
    store = await SqliteStore.open(path)
    states: list[dict[str, bytes]] = [{}, {}]  # by revision: 0 is nothing, 1 the empty store
    revisions: dict[str, Revision] = {}
    compacted = 0
    for number, (step, key) in enumerate(steps):
        now = dict(states[-1])
        if step == "reopen":
            await store.close()
            store = await SqliteStore.open(path)
        elif step == "compact":
            compacted = max(compacted, len(states) // 2)
            await store.compact(Revision(compacted))
        elif step == "stale" and key in now:
            try:
                await store.update(key, b"lost", Revision(revisions[key] - 1))
            except errors.Conflict:
                continue
            raise AssertionError("a stale write went through")
        elif step == "delete" and key in now:
            await store.delete(key, revisions.pop(key))
            del now[key]
            states.append(now)
        elif step == "put":
            value = str(number).encode()
            if key in now:
                kv = await store.update(key, value, revisions[key])
            else:
                kv = await store.create(key, value)
            revisions[key] = kv.mod_revision
            now[key] = value
            states.append(now)
    assert store.revision == len(states) - 1
    await compare(store, states, compacted)
    await store.close()


async def compare(store: SqliteStore, states: list[dict[str, bytes]], compacted: int) -> None:
    """Every revision: listed as it was and replayed from there to the end, or Expired."""
    for revision in range(1, len(states)):
        expected = {k: v for k, v in states[revision].items() if k.startswith("/m/")}
        try:
            page = await store.list("/m/", revision=Revision(revision))
            watch = await store.watch("/m/", Revision(revision))
        except errors.Expired:
            assert revision < compacted
            continue
        assert revision >= compacted
        assert {kv.key: kv.value for kv in page.items} == expected
        final = {k: v for k, v in states[-1].items() if k.startswith("/m/")}
        seen = revision
        while any(
            {k: v for k, v in state.items() if k.startswith("/m/")} != expected
            for state in states[seen + 1 :]
        ):
            for event in await watch.batch():
                assert event.kv.mod_revision > seen
                seen = event.kv.mod_revision
                before = expected.get(event.kv.key)
                assert (event.previous.value if event.previous else None) == before
                if event.type is EventType.DELETE:
                    del expected[event.kv.key]
                else:
                    expected[event.kv.key] = event.kv.value
        assert expected == final
        watch.close()


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(STEP, max_size=30))
def test_any_history_is_remembered_exactly(steps: list[tuple[str, str]]) -> None:
    """Whatever is written, deleted, compacted and reopened: each revision reads and replays as it was."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live_through(Path(folder) / "store.db", steps))
