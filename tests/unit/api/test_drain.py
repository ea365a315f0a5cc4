"""Which pods a drain takes off a node."""

from typing import Any

from netpod.api import drain
from netpod.api.drain import Options


def _pod(
    name: str, owner: str = "", phase: str = "Running", empty_dir: bool = False
) -> dict[str, Any]:
    about: dict[str, Any] = {"name": name, "namespace": "default"}
    if owner:
        about["ownerReferences"] = [{"kind": owner, "name": "o", "controller": True}]
    volumes = [{"name": "v", "emptyDir": {}}] if empty_dir else []
    return {"metadata": about, "spec": {"volumes": volumes}, "status": {"phase": phase}}


def _plan(
    *pods: dict[str, Any], exists: bool = True, **options: bool
) -> tuple[list[str], str, str]:
    found = drain.plan(pods, Options(**options), lambda namespace, name: exists)
    return [it["metadata"]["name"] for it in found.pods], found.error(), found.warning()


def test_pods_that_a_controller_replaces_go() -> None:
    """They are what a drain is for."""
    assert _plan(_pod("a", "ReplicaSet"), _pod("b", "StatefulSet")) == (["a", "b"], "", "")


def test_a_pod_without_a_controller_goes_by_force_only() -> None:
    """Nobody makes it again; one that has ended is no loss."""
    said = "cannot delete Pods that declare no controller (use --force to override): default/a"
    assert _plan(_pod("a")) == ([], said, "")
    warned = "deleting Pods that declare no controller: default/a"
    assert _plan(_pod("a"), force=True) == (["a"], "", warned)
    assert _plan(_pod("a", phase="Succeeded")) == (["a"], "", "")


def test_pods_of_daemon_sets_stay() -> None:
    """They come back to the same node at once."""
    said = "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): default/a"
    assert _plan(_pod("a", "DaemonSet")) == ([], said, "")
    warned = "ignoring DaemonSet-managed Pods: default/a"
    assert _plan(_pod("a", "DaemonSet"), ignore_daemonsets=True) == ([], "", warned)


def test_a_pod_whose_daemon_set_is_gone_is_nobodys() -> None:
    """It is a pod without a controller."""
    assert _plan(_pod("a", "DaemonSet"), exists=False, force=True)[0] == ["a"]


def test_local_storage_is_not_lost_unasked() -> None:
    """An emptyDir ends with its pod."""
    said = (
        "cannot delete Pods with local storage (use --delete-emptydir-data to override): default/a"
    )
    assert _plan(_pod("a", "ReplicaSet", empty_dir=True)) == ([], said, "")
    options = {"delete_emptydir_data": True}
    assert _plan(_pod("a", "ReplicaSet", empty_dir=True), **options)[0] == ["a"]
