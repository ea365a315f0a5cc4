"""Strategic merge patch: merge keys, directives, order."""

import copy
import dataclasses
import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from netpod.api import codec, registry
from netpod.apiserver import patch_schema, patch_strategic
from netpod.errors import BadRequest, Invalid


def apply(kind: str, current: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Patch, and make sure that neither input changes."""
    before = copy.deepcopy((current, patch))
    result = patch_strategic.apply(kind, current, patch)
    assert before == (current, patch)
    return result


def spec(kind: str, current: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Patch a spec."""
    result: dict[str, Any] = apply(kind, {"spec": current}, {"spec": patch})["spec"]
    return result


def test_containers_merge_by_name_and_their_lists_by_key() -> None:
    """`kubectl set image` names one container and leaves the rest alone."""
    current = {
        "containers": [
            {
                "name": "a",
                "image": "a:1",
                "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}],
                "ports": [{"containerPort": 80}],
                "volumeMounts": [{"mountPath": "/a", "name": "v"}],
            },
            {"name": "b", "image": "b:1"},
        ]
    }
    patch = {
        "containers": [
            {
                "name": "a",
                "image": "a:2",
                "env": [{"name": "Y", "value": "3"}, {"name": "Z", "value": "4"}],
                "ports": [{"containerPort": 80, "name": "http"}],
                "volumeMounts": [{"mountPath": "/a", "readOnly": True}],
            }
        ]
    }
    first, second = spec("Pod", current, patch)["containers"]
    assert first["image"] == "a:2"
    assert first["env"] == [
        {"name": "X", "value": "1"},
        {"name": "Y", "value": "3"},
        {"name": "Z", "value": "4"},
    ]
    assert first["ports"] == [{"containerPort": 80, "name": "http"}]
    assert first["volumeMounts"] == [{"mountPath": "/a", "name": "v", "readOnly": True}]
    assert second == {"name": "b", "image": "b:1"}


@pytest.mark.parametrize(
    ("kind", "field", "key"),
    [
        ("Service", "ports", "port"),
        ("Pod", "volumes", "name"),
        ("Pod", "imagePullSecrets", "name"),
        ("Pod", "hostAliases", "ip"),
        ("Pod", "topologySpreadConstraints", "topologyKey"),
        ("Pod", "initContainers", "name"),
    ],
)
def test_merge_keys_are_upstreams(kind: str, field: str, key: str) -> None:
    """An element with a known key merges, one with a new key is added, `$patch: delete` removes."""
    current = {field: [{key: "1", "x": 1}, {key: "2", "x": 2}]}
    patch = {field: [{key: "1", "y": 1}, {key: "3"}, {key: "2", "$patch": "delete"}]}
    assert spec(kind, current, patch) == {field: [{key: "1", "x": 1, "y": 1}, {key: "3"}]}


@pytest.mark.parametrize(
    ("kind", "field"),
    [("Pod", "tolerations"), ("Node", "taints"), ("Service", "externalIPs"), ("Ingress", "rules")],
)
def test_atomic_lists_are_replaced(kind: str, field: str) -> None:
    """A list without a merge key is one value: `kubectl taint` sends all taints that stay."""
    assert spec(kind, {field: [{"key": "a"}, {"key": "b"}]}, {field: [{"key": "c"}]}) == {
        field: [{"key": "c"}]
    }


def test_conditions_merge_by_type() -> None:
    """A kubelet patches one condition without the others."""
    current = {
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "reason": "x"}, {"type": "B"}]
        }
    }
    patch = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    for kind in ("Pod", "Node", "Deployment", "ReplicaSet", "Service", "Namespace"):
        assert apply(kind, current, patch)["status"]["conditions"] == [
            {"type": "Ready", "status": "False", "reason": "x"},
            {"type": "B"},
        ]


def test_finalizers_merge_as_a_set_and_values_can_be_deleted() -> None:
    """Two writers of finalizers do not remove each other's."""
    current = {"metadata": {"finalizers": ["a", "b"]}}
    assert apply("Pod", current, {"metadata": {"finalizers": ["c", "a"]}})["metadata"] == {
        "finalizers": ["c", "a", "b"]
    }
    removed = apply("Pod", current, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}})
    assert removed == {"metadata": {"finalizers": ["b"]}}


def test_owner_references_merge_by_uid() -> None:
    """Each owner is one element."""
    current = {"metadata": {"ownerReferences": [{"uid": "1", "name": "a"}]}}
    patch = {"metadata": {"ownerReferences": [{"uid": "1", "$patch": "delete"}, {"uid": "2"}]}}
    assert apply("Pod", current, patch) == {"metadata": {"ownerReferences": [{"uid": "2"}]}}


def test_null_deletes_and_is_never_stored() -> None:
    """A null for something absent leaves nothing behind, at any depth."""
    current = {"metadata": {"labels": {"a": "1"}, "annotations": {"x": "y"}}}
    patch = {
        "metadata": {"labels": {"a": None, "b": None, "c": "2"}, "annotations": None},
        "spec": {"x": {"y": None}},
    }
    assert apply("Pod", current, patch) == {"metadata": {"labels": {"c": "2"}}, "spec": {"x": {}}}


def test_map_directives_replace_and_delete() -> None:
    """`$patch` in a map speaks of the whole map."""
    current = {"metadata": {"labels": {"a": "1", "b": "2"}}}
    replaced = apply("Pod", current, {"metadata": {"labels": {"$patch": "replace", "c": "3"}}})
    assert replaced == {"metadata": {"labels": {"c": "3"}}}
    deleted = apply("Pod", current, {"metadata": {"labels": {"$patch": "delete"}}})
    assert deleted == {"metadata": {"labels": {}}}
    merged = apply("Pod", current, {"metadata": {"labels": {"$patch": "merge", "c": "3"}}})
    assert merged == {"metadata": {"labels": {"a": "1", "b": "2", "c": "3"}}}


def test_list_directive_replace_drops_what_was_there() -> None:
    """An element with `$patch: replace` makes the patch the whole list."""
    current = {"containers": [{"name": "a"}, {"name": "b"}]}
    patch = {"containers": [{"$patch": "replace"}, {"name": "c", "image": "x"}]}
    assert spec("Pod", current, patch) == {"containers": [{"name": "c", "image": "x"}]}


def test_retain_keys_drops_the_other_branch_of_a_union() -> None:
    """Changing a Deployment's strategy to Recreate removes rollingUpdate."""
    current = {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}
    patch = {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}
    assert spec("Deployment", current, patch) == {"strategy": {"type": "Recreate"}}
    volumes = {"volumes": [{"name": "v", "emptyDir": {}}]}
    change = {
        "volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]
    }
    assert spec("Pod", volumes, change) == {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}


def test_element_order_follows_the_directive() -> None:
    """`$setElementOrder` reorders; what only the server has stays beside its neighbour."""
    current = {"containers": [{"name": n} for n in ("a", "server", "b", "c")]}
    patch = {
        "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}, {"name": "d"}],
        "containers": [{"name": "d"}],
    }
    names = [c["name"] for c in spec("Pod", current, patch)["containers"]]
    assert [name for name in names if name != "server"] == ["c", "b", "a", "d"]
    assert sorted(names) == ["a", "b", "c", "d", "server"]


def test_element_order_of_plain_values() -> None:
    """Finalizers are ordered by value."""
    current = {"metadata": {"finalizers": ["a", "b", "c"]}}
    patch = {
        "metadata": {
            "$setElementOrder/finalizers": ["c", "a"],
            "$deleteFromPrimitiveList/finalizers": ["b"],
        }
    }
    assert apply("Pod", current, patch) == {"metadata": {"finalizers": ["c", "a"]}}


def test_a_service_port_changes_by_its_number() -> None:
    """What `kubectl apply` sends when a Service's targetPort changed."""
    current = {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 30080}]}
    patch = {"$setElementOrder/ports": [{"port": 80}], "ports": [{"port": 80, "targetPort": 9090}]}
    assert spec("Service", current, patch) == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 9090, "nodePort": 30080}]
    }


def test_templates_merge_like_pods() -> None:
    """`kubectl rollout restart` adds one annotation to the template."""
    current = {"template": {"spec": {"containers": [{"name": "a", "image": "i"}]}}}
    patch = {
        "template": {
            "metadata": {"annotations": {"at": "now"}},
            "spec": {"containers": [{"name": "a", "tty": True}]},
        }
    }
    for kind in ("Deployment", "ReplicaSet"):
        assert spec(kind, current, patch) == {
            "template": {
                "metadata": {"annotations": {"at": "now"}},
                "spec": {"containers": [{"name": "a", "image": "i", "tty": True}]},
            }
        }


@pytest.mark.parametrize(
    "patch",
    [
        {"$patch": "explode"},
        {"$retainKeys": ["a"], "b": 1},
        {"$retainKeys": "a"},
        {"$deleteFromPrimitiveList/finalizers": "a"},
        {"$setElementOrder/containers": [{"image": "x"}]},
        {"$setElementOrder/containers": "x"},
        {"containers": ["a"]},
        {"containers": [{"name": "a", "$patch": "explode"}]},
    ],
)
def test_malformed_directives_are_refused(patch: dict[str, Any]) -> None:
    """400: the patch itself is wrong."""
    with pytest.raises(BadRequest, match="cannot apply strategic merge patch"):
        spec("Pod", {"containers": [{"name": "a"}]}, patch)


def test_an_element_without_its_merge_key_is_refused() -> None:
    """422 in upstream's words."""
    with pytest.raises(Invalid, match="does not contain declared merge key: name"):
        spec("Pod", {"containers": [{"name": "a"}]}, {"containers": [{"image": "x"}]})


TEMPLATES = {
    **dict.fromkeys(
        ("Deployment ReplicaSet StatefulSet DaemonSet ReplicationController Job").split(),
        ("spec", "template", "spec"),
    ),
    "PodTemplate": ("template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
    "Pod": ("spec",),
}
"""Where each kind has the specification of its pods."""


def within(path: tuple[str, ...], value: Any) -> Any:
    """A value at a path."""
    for name in reversed(path):
        value = {name: value}
    return value


@pytest.mark.parametrize("kind", TEMPLATES)
def test_every_kind_with_pods_merges_their_containers(kind: str) -> None:
    """`kubectl set env` sends a container's name and what changes of it: the rest of it stays."""
    path = TEMPLATES[kind]
    current = within(path, {"containers": [{"name": "c", "image": "c:1"}]})
    patch = within(path, {"containers": [{"name": "c", "env": [{"name": "A", "value": "b"}]}]})
    whole = {"name": "c", "image": "c:1", "env": [{"name": "A", "value": "b"}]}
    assert apply(kind, current, patch) == within(path, {"containers": [whole]})


@pytest.mark.parametrize(
    "kind",
    "Pod Node Namespace Service Deployment ReplicaSet StatefulSet DaemonSet ReplicationController Job"
    " HorizontalPodAutoscaler PodDisruptionBudget PersistentVolumeClaim".split(),
)
def test_conditions_of_every_status_merge_by_type(kind: str) -> None:
    """As upstream tags them."""
    current = {"status": {"conditions": [{"type": "A", "status": "True"}]}}
    patch = {"status": {"conditions": [{"type": "B", "status": "False"}]}}
    found = apply(kind, current, patch)["status"]["conditions"]
    assert sorted(found, key=lambda it: it["type"]) == [
        {"type": "A", "status": "True"},
        {"type": "B", "status": "False"},
    ]


def test_a_budgets_selector_is_replaced_whole() -> None:
    """The one map that upstream says so of; drivers of a node merge by name."""
    assert spec(
        "PodDisruptionBudget",
        {"selector": {"matchLabels": {"a": "1"}}},
        {"selector": {"matchLabels": {"b": "2"}}},
    ) == {"selector": {"matchLabels": {"b": "2"}}}
    drivers = [{"name": "a", "nodeID": "1"}]
    found = spec("CSINode", {"drivers": drivers}, {"drivers": [{"name": "b", "nodeID": "2"}]})
    assert len(found["drivers"]) == 2


@pytest.mark.parametrize("resource", registry.RESOURCES, ids=lambda it: f"{it.group}/{it.kind}")
def test_patches_and_published_schemas_agree(resource: registry.Resource) -> None:
    """What the table says of a struct holds wherever a kind has one: no way to it is forgotten."""

    def walk(cls: type, struct: str, path: str) -> None:
        hints = typing.get_type_hints(cls)
        for item in dataclasses.fields(cls):
            name = item.metadata.get("json") or codec.json_name(item.name)
            rule = patch_schema.rule(struct, name)
            for inner in _structs(hints[item.name]):
                said = patch_schema.STRUCTS.get(inner.__name__)
                if said:
                    assert patch_schema.STRUCTS.get(rule.struct) == said, f"{path}.{name}"
                walk(inner, rule.struct, f"{path}.{name}")

    walk(resource.cls, patch_schema.root(resource.kind), resource.kind)


def _structs(hint: Any) -> Iterator[type]:
    """The struct of a field; of lists those whose elements merge have theirs in the table, and are tested above."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        for part in typing.get_args(hint):
            yield from _structs(part)
