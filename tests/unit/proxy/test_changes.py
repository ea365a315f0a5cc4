"""From informer events to the chains a sync hands over."""

import dataclasses
from collections.abc import Callable

from netpod.proxy.changes import ChangeTracker
from netpod.proxy.compiled import Compiled
from netpod.proxy.iptables import compile
from netpod.proxy.restore import Delta, restore_text
from tests.unit.proxy.builders import CONFIG, endpoint_slice, entry, port, service

WEB = service()
PAIR = endpoint_slice((entry("10.244.1.5"), entry("10.244.1.6")))
ONE = endpoint_slice((entry("10.244.1.5"), entry("10.244.1.6", ready=False, serving=False)))
MANY = [service(f"s{n}", cluster_ip=f"10.96.1.{n}") for n in range(1, 50)]


def tracker() -> ChangeTracker:
    """A tracker that has seen shop/web with two endpoints and many other Services."""
    found = ChangeTracker("worker")
    for one in (WEB, *MANY):
        found.service_changed(None, one)
    found.slice_changed(None, PAIR)
    found.take()
    return found


def synced(of: ChangeTracker) -> Compiled:
    """Rules that the kernel has."""
    compiled = Compiled(CONFIG)
    compiled.rebuild(of.model)
    compiled.applied()
    return compiled


def test_objects_may_come_in_any_order() -> None:
    """A slice before its Service is remembered."""
    found = ChangeTracker("worker")
    found.slice_changed(None, PAIR)
    assert found.take() == frozenset()
    found.service_changed(None, WEB)
    assert {str(name) for name in found.take()} == {"shop/web"}
    (endpoints,) = found.model.endpoints.values()
    assert len(endpoints) == 2


def test_changes_without_effect_are_none() -> None:
    """An annotation, or a status that says the same, is no reason to sync."""
    found = tracker()
    noted = dataclasses.replace(WEB.metadata, annotations={"a": "b"})
    found.service_changed(WEB, dataclasses.replace(WEB, metadata=noted))
    assert found.dirty
    assert found.take() == frozenset()


def test_deleted_service_leaves_the_model() -> None:
    """Its slices may come later or never."""
    found = tracker()
    found.service_changed(WEB, None)
    assert {str(name) for name in found.take()} == {"shop/web"}
    assert all(name.name != "web" for name in found.model.services)
    found.slice_changed(PAIR, None)
    assert found.take() == frozenset()


def test_slice_moves_to_another_service() -> None:
    """Both Services are looked at again."""
    found = tracker()
    labels = {"kubernetes.io/service-name": "s1"}
    moved = dataclasses.replace(PAIR, metadata=dataclasses.replace(PAIR.metadata, labels=labels))
    found.slice_changed(PAIR, moved)
    assert {str(name) for name in found.take()} == {"shop/web", "shop/s1"}


def test_endpoint_flip_hands_over_its_own_chains_only() -> None:
    """With ready endpoints left, no chain shared by other Services is written."""
    found = tracker()
    compiled = synced(found)
    found.slice_changed(PAIR, ONE)
    compiled.update(found.take(), found.model)
    delta = compiled.pending()
    assert [chain[:9] for chain in delta.changed["nat"]] == ["KUBE-SVC-"]
    assert set(delta.changed) == {"nat"}
    assert [chain[:9] for chain in delta.stale["nat"]] == ["KUBE-SEP-"]


def test_flip_and_back_hands_nothing_over() -> None:
    """What returned to the state the kernel has is not written."""
    found = tracker()
    compiled = synced(found)
    found.slice_changed(PAIR, ONE)
    compiled.update(found.take(), found.model)
    found.slice_changed(ONE, PAIR)
    compiled.update(found.take(), found.model)
    assert not compiled.pending()
    assert restore_text(compiled.pending()) == ""


def test_incremental_rules_equal_compiled_ones() -> None:
    """After any walk the desired rules are those of compiling the whole model."""
    found = tracker()
    compiled = synced(found)
    http = service(type="NodePort", ports=(port(80, node_port=30080),))
    steps: tuple[Callable[[], None], ...] = (
        lambda: found.service_changed(WEB, http),
        lambda: found.service_changed(MANY[3], None),
        lambda: found.slice_changed(PAIR, ONE),
        lambda: found.slice_changed(ONE, None),
        lambda: found.service_changed(http, None),
    )
    for step in steps:
        step()
        compiled.update(found.take(), found.model)
        compiled.applied()
        assert compiled.desired() == compile(found.model, CONFIG)


def test_restore_text_declares_flushes_and_deletes() -> None:
    """One text, tables in order, stale chains emptied before they are deleted."""
    delta = Delta(
        changed={"nat": {"A": ("-A A -j B",), "B": ()}, "filter": {"C": ()}},
        stale={"nat": ("OLD",)},
        jumps={"nat": ("-A OUTPUT -j A",)},
    )
    assert restore_text(delta).split("\n") == [
        "*filter",
        ":C - [0:0]",
        "COMMIT",
        "*nat",
        ":A - [0:0]",
        ":B - [0:0]",
        ":OLD - [0:0]",
        "-A A -j B",
        "-I OUTPUT 1 -j A",
        "-X OLD",
        "COMMIT",
        "",
    ]


def test_large_clusters_save_their_comments() -> None:
    """Above a thousand endpoints the rules that choose and reach them carry none."""
    found = ChangeTracker("worker")
    found.service_changed(None, WEB)
    entries = tuple(entry(f"10.244.{n >> 8}.{n & 255}") for n in range(1, 1003))
    found.slice_changed(None, endpoint_slice(entries))
    found.take()
    nat = compile(found.model, CONFIG)["nat"]
    for chain, rules in nat.items():
        if chain.startswith("KUBE-SEP-"):
            assert not any("--comment" in rule for rule in rules)
