"""Manifests become objects and come back whole."""

from datetime import UTC, datetime

import pytest

from netpod.api import codec, meta, registry
from netpod.api.apps import Deployment
from netpod.api.core import ConfigMap
from netpod.api.meta import ObjectMeta
from netpod.api.pod import Pod
from netpod.errors import BadRequest, NotFound


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("cluster_ips", "clusterIPs"),
        ("load_balancer_ip", "loadBalancerIP"),
        ("pod_cidr", "podCIDR"),
        ("from_", "from"),
        ("exec_", "exec"),
        ("client_ip", "clientIP"),
        ("ip_families", "ipFamilies"),
        ("system_uuid", "systemUUID"),
        ("container_id", "containerID"),
        ("qos_class", "qosClass"),
        ("api_version", "apiVersion"),
    ],
)
def test_attribute_has_upstreams_json_name(attribute: str, name: str) -> None:
    """Acronyms keep upstream's capitals."""
    assert codec.json_name(attribute) == name


def test_unknown_fields_survive_a_round_trip() -> None:
    """What a manifest says and netpod has no type for is written back where it stood."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "shoeSize": 43},
        "spec": {
            "containers": [{"name": "c", "resources": {}, "colour": "red"}],
            "mood": {"a": [1]},
        },
    }
    pod = codec.decode_object(manifest)
    assert codec.encode(pod) == manifest
    assert sorted(codec.unknown_fields(pod)) == [
        "metadata.shoeSize",
        "spec.containers[0].colour",
        "spec.mood",
    ]


def test_volume_source_is_not_reported_as_unknown() -> None:
    """A volume's source is data we keep, not a typing mistake."""
    spec = {"containers": [], "volumes": [{"name": "v", "emptyDir": {}}]}
    pod = codec.decode(Pod, {"apiVersion": "v1", "kind": "Pod", "spec": spec})
    assert codec.unknown_fields(pod) == []
    assert codec.encode(pod)["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"replicas": "three"}, 'spec.replicas: expected an integer, found a string ("three")'),
        ({"replicas": True}, "spec.replicas: expected an integer, found a boolean (true)"),
        ({"paused": 1}, "spec.paused: expected a boolean, found a number (1)"),
        (
            {"template": {"spec": {"containers": [{"ports": "x"}]}}},
            'spec.template.spec.containers[0].ports: expected a list, found a string ("x")',
        ),
        (
            {"selector": {"matchLabels": {"a": 1}}},
            "spec.selector.matchLabels[a]: expected a string, found a number (1)",
        ),
        ([], "spec: expected an object, found a list"),
    ],
)
def test_wrong_type_names_its_path(spec: object, message: str) -> None:
    """A value of the wrong type is refused with its path, what was found and what is allowed."""
    with pytest.raises(BadRequest) as error:
        codec.decode(Deployment, {"spec": spec})
    assert str(error.value) == f"cannot decode Deployment: {message}"


def test_zero_is_told_from_absent_where_upstream_does() -> None:
    """`replicas: 0` is a wish, an absent one is not."""
    zero = codec.decode(Deployment, {"spec": {"replicas": 0}})
    assert codec.encode(zero)["spec"]["replicas"] == 0
    assert "replicas" not in codec.encode(codec.decode(Deployment, {})).get("spec", {})


def test_null_is_absent() -> None:
    """`metadata.creationTimestamp: null`, which kubectl writes, is no error."""
    obj = codec.decode(
        ConfigMap, {"metadata": {"name": "a", "creationTimestamp": None}, "data": None}
    )
    assert obj == ConfigMap(metadata=ObjectMeta(name="a"))


@pytest.mark.parametrize("resource", registry.RESOURCES, ids=lambda r: r.plural)
def test_every_kind_round_trips(resource: registry.Resource) -> None:
    """Each kind of the registry is decoded by the class it names and keeps kind and apiVersion."""
    manifest = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": "x", "labels": {"a": "b"}},
    }
    obj = codec.decode_object(manifest)
    assert type(obj) is resource.cls
    assert manifest.items() <= codec.encode(obj).items()
    assert codec.decode_object(codec.encode(obj)) == obj


def test_manifests_of_several_documents_and_lists() -> None:
    """A file may hold several documents, empty ones, and Lists."""
    text = "kind: A\n---\n---\nkind: List\nitems:\n- kind: B\n- kind: C\n"
    assert [m["kind"] for m in codec.load_manifests(text)] == ["A", "B", "C"]


def test_times_in_yaml_stay_text() -> None:
    """YAML's own dates would not survive as JSON."""
    assert codec.load_manifests("a: 2026-01-01T00:00:00Z") == [{"a": "2026-01-01T00:00:00Z"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1,", "cannot parse YAML at line 2, column 1"),
        ("a:\n\tb: 1", "cannot parse YAML at line 2, column 1"),
        ("- 1", "cannot parse document 1: expected an object, found a list"),
    ],
)
def test_bad_yaml_says_where(text: str, message: str) -> None:
    """A text that does not parse names line and column."""
    with pytest.raises(BadRequest, match=message):
        codec.load_manifests(text)


def test_lookup_knows_every_name_of_a_resource() -> None:
    """Plural, singular, short and qualified names mean the same resource."""
    deployments = registry.lookup("deployments")
    for word in (
        "deployment",
        "deploy",
        "Deployment",
        "deployments.apps",
        "deploy.apps",
        "deployments.v1.apps",
    ):
        assert registry.lookup(word) is deployments
    assert registry.lookup("cs") is registry.COMPONENT_STATUS
    assert registry.lookup("psp").plural == "podsecuritypolicies"
    with pytest.raises(NotFound, match='the server doesn\'t have a resource type "deplyment"'):
        registry.lookup("deplyment")


def test_kind_under_another_version_is_pointed_out() -> None:
    """The usual mistake, an old apiVersion, is named with the one that works."""
    with pytest.raises(NotFound, match="Deployment is served as apps/v1"):
        codec.decode_object({"apiVersion": "extensions/v1beta1", "kind": "Deployment"})


def test_times_have_four_digits_for_the_year() -> None:
    """Go's zero time is in the year 1, which strftime writes with one digit."""
    zero = datetime(1, 1, 1, 0, 0, 2, 345, tzinfo=UTC)
    assert meta.timestamp(zero) == "0001-01-01T00:00:02Z"
    assert meta.micro_timestamp(zero) == "0001-01-01T00:00:02.000345Z"
