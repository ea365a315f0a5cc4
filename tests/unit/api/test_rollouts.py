"""What `rollout` and `expose` say and send."""

from typing import Any

import pytest

from netpod.api import exposing, rollouts
from netpod.errors import NetpodError, UsageError


def deployment(generation: int = 1, **status: Any) -> dict[str, Any]:
    """Return Deployment web of three replicas."""
    return {
        "kind": "Deployment",
        "metadata": {"name": "web", "uid": "u", "generation": generation, "labels": {"a": "b"}},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {"containers": [{"ports": [{"containerPort": 8080}]}]}},
        },
        "status": {"observedGeneration": 1, **status},
    }


@pytest.mark.parametrize(
    ("obj", "said", "done"),
    [
        (deployment(2), "Waiting for deployment spec update to be observed...", False),
        (
            deployment(replicas=3, updatedReplicas=1),
            'Waiting for deployment "web" rollout to finish: 1 out of 3 new replicas have been updated...',
            False,
        ),
        (
            deployment(replicas=4, updatedReplicas=3),
            'Waiting for deployment "web" rollout to finish: 1 old replicas are pending termination...',
            False,
        ),
        (
            deployment(replicas=3, updatedReplicas=3, availableReplicas=2),
            'Waiting for deployment "web" rollout to finish: 2 of 3 updated replicas are available...',
            False,
        ),
        (
            deployment(replicas=3, updatedReplicas=3, availableReplicas=3),
            'deployment "web" successfully rolled out',
            True,
        ),
    ],
)
def test_status_says_what_is_missing(obj: dict[str, Any], said: str, done: bool) -> None:
    """kubectl's sentences, in its order."""
    assert rollouts.status(obj) == (said, done)


def test_deadline_is_an_error() -> None:
    """A rollout that exceeded its deadline will not end by waiting."""
    condition = {"type": "Progressing", "reason": "ProgressDeadlineExceeded"}
    with pytest.raises(NetpodError, match="exceeded its progress deadline"):
        rollouts.status(deployment(conditions=[condition]))


def replica_set(revision: int, image: str) -> dict[str, Any]:
    """Return one of web's ReplicaSets."""
    return {
        "metadata": {
            "ownerReferences": [{"uid": "u", "controller": True}],
            "annotations": {rollouts.REVISION: str(revision), rollouts.CAUSE: image},
        },
        "spec": {
            "template": {
                "metadata": {"labels": {"app": "web", "pod-template-hash": "x"}},
                "spec": {"containers": [{"image": image}]},
            }
        },
    }


def test_undo_goes_to_the_revision_before_without_the_hash() -> None:
    """Of revisions 1, 3, 2 the undo goes to 2; a number chooses another; a paused one refuses."""
    kept = [replica_set(1, "a"), replica_set(3, "c"), replica_set(2, "b")]
    found = rollouts.history(deployment(), kept)
    assert [r.number for r in found] == [1, 2, 3]
    wanted = rollouts.to_undo(deployment(), found, 0)
    assert wanted.number == 2
    template = wanted.patch[0]["value"]
    assert template["metadata"]["labels"] == {"app": "web"}
    assert rollouts.to_undo(deployment(), found, 1).number == 1
    with pytest.raises(NetpodError, match="unable to find the specified revision 9"):
        rollouts.to_undo(deployment(), found, 9)
    paused = deployment()
    paused["spec"]["paused"] = True
    with pytest.raises(NetpodError, match="paused"):
        rollouts.to_undo(paused, found, 0)


def test_exposed_service_selects_the_pods_and_takes_declared_ports() -> None:
    """Without --port the containers' ports are taken; without any it is an error."""
    made = exposing.service(deployment())
    assert made["spec"] == {
        "selector": {"app": "web"},
        "ports": [{"port": 8080, "protocol": "TCP", "targetPort": 8080}],
    }
    assert made["metadata"] == {"name": "web", "labels": {"a": "b"}}
    made = exposing.service(deployment(), port=80, target_port="http", type_="NodePort")
    assert made["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": "http"}]
    bare = deployment()
    bare["spec"]["template"]["spec"]["containers"] = [{}]
    with pytest.raises(UsageError, match="couldn't find port"):
        exposing.service(bare)
