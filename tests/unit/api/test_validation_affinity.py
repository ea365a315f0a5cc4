"""Affinities and users that upstream refuses are refused in its words."""

from typing import Any

import pytest

from tests.unit.api.test_validation_pod import Wrong, pod

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
NODE = "spec.affinity.nodeAffinity"
TERM = f"{NODE}.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0]"
FIELD = f"{NODE}.{REQUIRED}.nodeSelectorTerms[0].matchFields[0]"
PODS = "spec.affinity.podAntiAffinity"


def nodes(**asked: Any) -> dict[str, Any]:
    """A pod that requires one thing of its node's labels."""
    terms = [{"matchExpressions": [{"key": "disk", **asked}]}]
    return pod(affinity={"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}})


def field(**asked: Any) -> dict[str, Any]:
    """A pod that requires one thing of its node's fields."""
    terms = [{"matchFields": [{"key": "metadata.name", **asked}]}]
    return pod(affinity={"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}})


def apart(rule: str, *terms: dict[str, Any]) -> dict[str, Any]:
    """A pod that wants to be away from others."""
    return pod(affinity={"podAntiAffinity": {rule: list(terms)}})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            nodes(operator="Foo"),
            f'{TERM}.operator: Invalid value: "Foo": not a valid selector operator',
        ),
        (
            nodes(operator="In"),
            f"{TERM}.values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ),
        (
            nodes(operator="Exists", values=["ssd"]),
            f"{TERM}.values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        (
            nodes(operator="Gt", values=["1", "2"]),
            f"{TERM}.values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
        ),
        (
            field(operator="In", values=["a", "b"]),
            f"{FIELD}.values: Required value: must be only one value when `operator` is "
            "'In' or 'NotIn' for node field selector",
        ),
        (
            field(operator="In", values=["a"], key="metadata.uid"),
            f'{FIELD}.key: Invalid value: "metadata.uid": not a valid field selector key',
        ),
        (
            pod(affinity={"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": []}}}),
            f"{NODE}.{REQUIRED}.nodeSelectorTerms: Required value: "
            "must have at least one node selector term",
        ),
        (
            pod(affinity={"nodeAffinity": {PREFERRED: [{"weight": 101, "preference": {}}]}}),
            f"{NODE}.{PREFERRED}[0].weight: Invalid value: 101: must be in the range 1-100",
        ),
        (
            apart(REQUIRED, {"labelSelector": {}}),
            f"{PODS}.{REQUIRED}[0].topologyKey: Required value: can not be empty",
        ),
        (
            apart(
                PREFERRED,
                {
                    "weight": 1,
                    "podAffinityTerm": {
                        "topologyKey": "zone",
                        "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]},
                    },
                },
            ),
            f"{PODS}.{PREFERRED}[0].podAffinityTerm.labelSelector.matchExpressions[0].operator: "
            'Invalid value: "Is": not a valid selector operator',
        ),
        (
            pod({"securityContext": {"runAsUser": -1}}),
            "spec.containers[0].securityContext.runAsUser: Invalid value: -1: "
            "must be between 0 and 2147483647, inclusive",
        ),
        (
            pod(securityContext={"fsGroup": 1 << 31}),
            "spec.securityContext.fsGroup: Invalid value: 2147483648: "
            "must be between 0 and 2147483647, inclusive",
        ),
    ],
    ids=lambda v: v.split(": ")[0] if isinstance(v, str) else "",
)
def test_wrong_choices(wrong: Wrong, bad: dict[str, Any], message: str) -> None:
    """Each mistake is named; an empty name is wrong as a name, too, as upstream has it."""
    assert [it for it in wrong("po", spec=bad) if 'Invalid value: "": name part' not in it] == [
        message
    ]


def test_right_choices(wrong: Wrong) -> None:
    """What upstream's examples say passes."""
    assert wrong("po", spec=nodes(operator="In", values=["ssd"])) == []
    assert wrong("po", spec=nodes(operator="Gt", values=["1"])) == []
    assert wrong("po", spec=field(operator="In", values=["a"])) == []
    assert wrong("po", spec=apart(REQUIRED, {"topologyKey": "kubernetes.io/hostname"})) == []
