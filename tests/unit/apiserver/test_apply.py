"""Server-side apply: who says what, who may change it, and what goes when nobody says it any more."""

from datetime import timedelta
from typing import Any

import pytest

from netpod.api import meta, registry
from netpod.api.pod import Pod
from netpod.apiserver import field_schema, field_sets
from tests.unit.apiserver.support import DEPLOYMENTS, PODS, SERVICES, Api, deployment, pod, service

Json = Any
Run = Any
APPLY = {"Content-Type": "application/apply-patch+yaml"}
WEB = f"{DEPLOYMENTS}/web"


async def applied(
    api: Api, path: str, body: Json, manager: str = "me", **query: str
) -> tuple[int, Json]:
    """Apply as a manager."""
    return await api("PATCH", path, body, headers=APPLY, fieldManager=manager, **query)


def manifest(image: str = "nginx:1", replicas: int | None = 2, **labels: str) -> Json:
    """A Deployment as a manager applies it."""
    made = deployment("web", 2)
    if labels:
        made["metadata"]["labels"] = labels
    made["spec"]["template"]["spec"]["containers"][0]["image"] = image
    if replicas is None:
        del made["spec"]["replicas"]
    else:
        made["spec"]["replicas"] = replicas
    return made


def managers(obj: Json) -> dict[tuple[str, str], Json]:
    """fieldsV1 by manager and operation."""
    entries = obj["metadata"].get("managedFields", [])
    return {(entry["manager"], entry["operation"]): entry["fieldsV1"] for entry in entries}


def test_apply_creates_and_owns_what_it_says(run: Run) -> None:
    """The first apply creates; only applied fields are owned, defaults are nobody's."""

    async def body(api: Api) -> None:
        code, made = await applied(api, WEB, manifest(a="b"))
        assert code == 201, made
        assert made["spec"]["revisionHistoryLimit"] == 10
        fields = managers(made)["me", "Apply"]
        assert fields["f:metadata"] == {"f:labels": {"f:a": {}}}
        assert set(fields["f:spec"]) == {"f:replicas", "f:selector", "f:template"}
        containers = fields["f:spec"]["f:template"]["f:spec"]["f:containers"]
        assert containers == {'k:{"name":"c"}': {".": {}, "f:name": {}, "f:image": {}}}
        again = await applied(api, WEB, manifest(a="b"))
        assert again == (200, made)

    run(body)


def test_what_is_no_longer_applied_goes(run: Run) -> None:
    """A field its only manager stops applying is removed; one that others own stays."""

    async def body(api: Api) -> None:
        await applied(api, WEB, manifest(a="b", c="d"))
        await applied(
            api, WEB, {**manifest(), "metadata": {"name": "web", "labels": {"c": "d"}}}, "other"
        )
        code, found = await applied(api, WEB, manifest())
        assert code == 200
        assert found["metadata"]["labels"] == {"c": "d"}
        assert managers(found)["other", "Apply"]["f:metadata"] == {"f:labels": {"f:c": {}}}

    run(body)


def test_list_elements_are_told_apart_by_their_keys(run: Run) -> None:
    """Two managers keep a port each; leaving TCP out names the same port."""

    async def body(api: Api) -> None:
        path = f"{SERVICES}/s"
        port = {"name": "a", "port": 80}
        await applied(api, path, service("s", ports=[port]))
        code, found = await applied(
            api,
            path,
            {**service("s"), "spec": {"ports": [{"name": "b", "port": 81, "protocol": "TCP"}]}},
            "other",
        )
        assert code == 200, found
        assert [p["port"] for p in found["spec"]["ports"]] == [80, 81]
        code, found = await applied(api, path, {**service("s"), "spec": {"selector": {"app": "s"}}})
        assert [p["port"] for p in found["spec"]["ports"]] == [81]

    run(body)


def test_conflict_names_manager_and_field(run: Run) -> None:
    """A field of another manager is not changed unless forced, which takes it over."""

    async def body(api: Api) -> None:
        await applied(api, WEB, manifest())
        code, found = await applied(api, WEB, manifest("nginx:2", 3), "other")
        assert (code, found["reason"]) == (409, "Conflict")
        image = '.spec.template.spec.containers[name="c"].image'
        assert found["message"] == (
            f'Apply failed with 2 conflicts: conflicts with "me":\n- .spec.replicas\n- {image}'
        )
        assert found["details"]["causes"][0] == {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "me"',
            "field": ".spec.replicas",
        }
        code, found = await applied(api, WEB, manifest("nginx:2", 3), "other", force="true")
        assert (code, found["spec"]["replicas"]) == (200, 3)
        assert "f:replicas" not in managers(found)["me", "Apply"]["f:spec"]

    run(body)


def test_same_value_is_shared(run: Run) -> None:
    """Two managers may say the same; then neither conflicts, and the field goes with the last of them."""

    async def body(api: Api) -> None:
        await applied(api, WEB, manifest(a="b"))
        code, _ = await applied(api, WEB, manifest(a="b"), "other")
        assert code == 200
        code, found = await applied(api, WEB, manifest())
        assert found["metadata"]["labels"] == {"a": "b"}
        code, found = await applied(api, WEB, manifest(), "other")
        assert "labels" not in found["metadata"]

    run(body)


def test_scaling_conflicts_with_a_later_apply(run: Run) -> None:
    """`kubectl scale` takes replicas over from who applied them."""

    async def body(api: Api) -> None:
        await applied(api, WEB, manifest())
        code, _ = await api("PATCH", f"{WEB}/scale", {"spec": {"replicas": 5}}, fieldManager="k")
        assert code == 200
        code, found = await applied(api, WEB, manifest())
        assert found["message"] == (
            'Apply failed with 1 conflict: conflict with "k" with subresource "scale" using '
            "apps/v1: .spec.replicas"
        )
        code, found = await applied(api, WEB, manifest(replicas=None))
        assert (code, found["spec"]["replicas"]) == (200, 5)

    run(body)


def test_scale_can_be_applied(run: Run) -> None:
    """As client-go's ApplyScale does it: the manager owns the replicas, through the subresource."""

    async def body(api: Api) -> None:
        await applied(api, WEB, manifest(), "other")
        scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 5}}
        code, why = await applied(api, f"{WEB}/scale", scale, "scaler")
        words = 'Apply failed with 1 conflict: conflict with "other": .spec.replicas'
        assert (code, why["message"]) == (409, words)
        code, made = await applied(api, f"{WEB}/scale", scale, "scaler", force="true")
        assert (code, made["kind"], made["spec"]["replicas"]) == (200, "Scale", 5)
        web = await api.get(WEB)
        (entry,) = [it for it in web["metadata"]["managedFields"] if it["manager"] == "scaler"]
        assert (entry["operation"], entry["subresource"]) == ("Apply", "scale")
        assert entry["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
        assert web["spec"]["replicas"] == 5
        code, why = await applied(api, f"{DEPLOYMENTS}/nosuch/scale", scale, "scaler")
        assert code == 404, why
        scale["spec"] = {"replicas": -1}
        code, why = await applied(api, f"{WEB}/scale", scale, "scaler", force="true")
        assert (code, why["details"]["causes"][0]["field"]) == (422, "spec.replicas")

    run(body)


def test_an_unknown_patch_is_refused_whatever_is_there(run: Run) -> None:
    """client-go learns by 415 not to send CBOR, also where what it would apply is not there yet."""

    async def body(api: Api) -> None:
        sent = {"Content-Type": "application/apply-patch+cbor"}
        for query in ({}, {"force": "true"}):
            code, why = await api("PATCH", WEB, b"", headers=sent, fieldManager="m", **query)
            assert code == 415, why

    run(body)


def test_dry_run_changes_nothing(run: Run) -> None:
    """dryRun=All answers as if, for what exists and what does not."""

    async def body(api: Api) -> None:
        code, _ = await applied(api, WEB, manifest(), dryRun="All")
        assert code == 201
        assert (await api("GET", WEB))[0] == 404
        _, made = await applied(api, WEB, manifest())
        code, found = await applied(api, WEB, manifest("nginx:3"), dryRun="All")
        assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:3"
        assert await api.get(WEB) == made

    run(body)


def test_other_writes_are_recorded(run: Run) -> None:
    """Create, update and patch that name a manager; a component that names none costs nothing."""

    async def body(api: Api) -> None:
        made = await api.create(PODS, pod(labels={"a": "b"}), fieldManager="kubectl-create")
        fields = managers(made)["kubectl-create", "Update"]
        assert fields["f:metadata"] == {"f:labels": {".": {}, "f:a": {}}}
        assert "f:dnsPolicy" in fields["f:spec"]
        assert "." not in fields["f:spec"]
        _, found = await api(
            "PATCH", f"{PODS}/p", {"metadata": {"labels": {"a": "c"}}}, fieldManager="kubectl-label"
        )
        assert managers(found)["kubectl-label", "Update"] == {
            "f:metadata": {"f:labels": {"f:a": {}}}
        }
        assert "f:a" not in str(managers(found)["kubectl-create", "Update"])
        before = found["metadata"]["managedFields"]
        _, found = await api("PATCH", f"{PODS}/p/status", {"status": {"podIP": "10.244.0.5"}})
        assert found["metadata"]["managedFields"] == before
        silent = await api.create(PODS, pod("q"))
        assert "managedFields" not in silent["metadata"]

    run(body)


def test_managed_fields_can_be_cleared(run: Run) -> None:
    """One empty entry forgets all managers, as upstream."""

    async def body(api: Api) -> None:
        await api.create(PODS, pod(), fieldManager="k")
        _, found = await api("PATCH", f"{PODS}/p", {"metadata": {"managedFields": [{}]}})
        assert "managedFields" not in found["metadata"]

    run(body)


@pytest.mark.parametrize(
    ("body", "query", "code", "words"),
    [
        (manifest(), {}, 422, "fieldManager: Required value: is required for apply patch"),
        (
            {"metadata": {}},
            {"fieldManager": "m"},
            400,
            "Incorrect version specified in apply patch",
        ),
        (b"[", {"fieldManager": "m"}, 400, "cannot parse YAML"),
        (
            {**manifest(), "metadata": {"managedFields": [{"manager": "x"}]}},
            {"fieldManager": "m"},
            400,
            "metadata.managedFields must be nil",
        ),
        (
            {**manifest(), "metadata": {"uid": "1"}},
            {"fieldManager": "m"},
            409,
            "uid mismatch",
        ),
    ],
)
def test_wrong_applies_are_refused(
    run: Run, body: Json, query: Json, code: int, words: str
) -> None:
    """What upstream refuses, in its words."""

    async def check(api: Api) -> None:
        found = await api("PATCH", WEB, body, headers=APPLY, **query)
        assert found[0] == code, found
        assert words in found[1]["message"]

    run(check)


def test_force_is_for_applies_only(run: Run) -> None:
    """A merge patch cannot be forced."""

    async def body(api: Api) -> None:
        code, found = await api("PATCH", WEB, {}, force="true")
        assert (code, "non-apply patch" in found["message"]) == (422, True)

    run(body)


def test_field_sets_survive_their_text_form() -> None:
    """FieldsV1 and sets say the same."""
    node = field_schema.of(registry.of(Pod))
    value = pod(labels={"a": "b"}, finalizers=["x/y"])
    found = field_sets.of_value(value, node)
    assert field_sets.read(field_sets.write(found)) == found
    assert ("f:metadata", "f:finalizers", 'v:"x/y"') in found
    assert field_sets.text(("f:a", 'k:{"p":1,"q":"x"}', 'v:"z"')) == '.a[p=1,q="x"][="z"]'


def test_what_is_removed_is_told_from_what_changed() -> None:
    """A comparison names each piece once, at the depth at which it is owned."""
    node = field_schema.of(registry.of(Pod))
    old = {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"nodeSelector": {"x": "1"}}}
    new = {"metadata": {"labels": {"a": "2"}}, "spec": {"nodeSelector": {"x": "2", "y": ""}}}
    found = field_sets.compare(old, new, node)
    labels = ("f:metadata", "f:labels")
    assert found.changed == {(*labels, "f:a"), ("f:spec", "f:nodeSelector")}
    assert found.removed == {(*labels, "f:b")}


def test_applied_elements_keep_their_order() -> None:
    """What others have in a list stays where it stood, what is new comes where the applier says."""
    node = field_schema.of(registry.of(Pod))

    def names(live: str, applied: str) -> str:
        made = [{"spec": {"containers": [{"name": n} for n in text]}} for text in (live, applied)]
        merged = field_sets.merge(*made, node)
        return "".join(c["name"] for c in merged["spec"]["containers"])

    assert names("ab", "bc") == "abc"
    assert names("a", "b") == "ab"
    assert names("abc", "ca") == "cab"
    assert names("", "ba") == "ba"


SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s"},
    "stringData": {"a": "hello", "b": "world"},
}


@pytest.mark.parametrize("how", ["apply", "patch", "put"])
def test_saying_the_same_again_changes_nothing(
    run: Run, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Secret's stringData is never read back, so it looks new each time; revision and times stay all the same."""
    path = "/api/v1/namespaces/default/secrets/s"

    async def body(api: Api) -> None:
        async def say(data: Json, manager: str = "me") -> Json:
            if how == "apply":
                return (await applied(api, path, data, manager))[1]
            method = "PUT" if how == "put" else "PATCH"
            return (await api(method, path, data, fieldManager=manager))[1]

        if how != "apply":
            await api.create(path.rpartition("/")[0], SECRET, fieldManager="me")
        made = await say(SECRET)
        assert made["data"] == {"a": "aGVsbG8=", "b": "d29ybGQ="}
        later = meta.now() + timedelta(seconds=5)
        monkeypatch.setattr(meta, "now", lambda: later)
        assert await say(SECRET) == made
        assert await api.get(path) == made
        changed = await say({**SECRET, "stringData": {"a": "bye", "b": "world"}})
        assert changed["data"] == {"a": "Ynll", "b": "d29ybGQ="}
        assert changed["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
        assert {it["time"] for it in changed["metadata"]["managedFields"]} == {
            meta.timestamp(later)
        }

    run(body)


def test_a_secret_made_with_string_data_is_managed_by_its_data(run: Run) -> None:
    """What an update set is told in the fields that are stored, so that another applier conflicts with them."""
    path = "/api/v1/namespaces/default/secrets"

    async def body(api: Api) -> None:
        made = await api.create(path, SECRET, fieldManager="me")
        fields = managers(made)["me", "Update"]
        assert fields["f:data"] == {".": {}, "f:a": {}, "f:b": {}}
        assert "f:stringData" not in fields
        other = {"apiVersion": "v1", "kind": "Secret", "data": {"a": "eA=="}}
        code, why = await applied(api, f"{path}/s", other, "other")
        assert code == 409
        assert 'conflict with "me" using v1: .data.a' in why["message"]

    run(body)
