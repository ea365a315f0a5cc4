"""create, get, list, update, patch: identity, versions, conflicts, pages."""

from collections.abc import Awaitable, Callable

from tests.unit.apiserver.support import (
    CONFIGMAPS,
    DEPLOYMENTS,
    MERGE,
    PODS,
    Api,
    configmap,
    deployment,
    pod,
)

Run = Callable[[Callable[[Api], Awaitable[None]]], None]


def test_a_created_object_gets_its_identity(run: Run) -> None:
    """The server gives uid, creationTimestamp and resourceVersion, and the namespace of the URL."""

    async def body(api: Api) -> None:
        made = await api.create(CONFIGMAPS, configmap("a", k="v"))
        meta = made["metadata"]
        assert meta["namespace"] == "default"
        assert len(meta["uid"]) == 36
        assert meta["creationTimestamp"].endswith("Z")
        assert int(meta["resourceVersion"]) > 1
        assert await api.get(f"{CONFIGMAPS}/a") == made
        code, status = await api("POST", CONFIGMAPS, configmap("a"))
        assert (code, status["reason"]) == (409, "AlreadyExists")
        assert status["message"] == 'configmaps "a" already exists'
        code, status = await api("GET", f"{CONFIGMAPS}/b")
        assert (code, status["message"]) == (404, 'configmaps "b" not found')
        assert status["details"] == {"name": "b", "kind": "configmaps"}

    run(body)


def test_generated_names_are_new_names(run: Run) -> None:
    """generateName gets five letters that make it unique."""

    async def body(api: Api) -> None:
        manifest = configmap("")
        manifest["metadata"] = {"generateName": "x-"}
        names = {(await api.create(CONFIGMAPS, manifest))["metadata"]["name"] for _ in range(5)}
        assert len(names) == 5
        assert all(name.startswith("x-") and len(name) == 7 for name in names)

    run(body)


def test_a_name_is_one_element_of_a_path(run: Run) -> None:
    """No name at all, and names that would lead elsewhere, are 422 with the field named."""

    async def body(api: Api) -> None:
        for name in ("", "..", "a/b", "a%2fb"):
            code, status = await api("POST", CONFIGMAPS, configmap(name))
            assert (code, status["details"]["causes"][0]["field"]) == (422, "metadata.name")

    run(body)


def test_unknown_fields_survive(run: Run) -> None:
    """What netpod has no type for is kept at every depth, also through a patch of something else."""

    async def body(api: Api) -> None:
        manifest = pod()
        manifest["spec"]["newField"] = {"deep": [1, {"x": None}]}
        manifest["spec"]["containers"][0]["volumeDevices"] = [{"name": "d"}]
        made = await api.create(PODS, manifest)
        assert made["spec"]["newField"] == {"deep": [1, {"x": None}]}
        _, patched = await api("PATCH", f"{PODS}/p", {"metadata": {"labels": {"a": "b"}}})
        assert patched["metadata"]["labels"] == {"a": "b"}
        assert patched["spec"]["newField"] == {"deep": [1, {"x": None}]}
        assert patched["spec"]["containers"][0]["volumeDevices"] == [{"name": "d"}]

    run(body)


def test_strict_validation_refuses_unknown_fields(run: Run) -> None:
    """fieldValidation=Strict is 400; Warn answers with Warning headers and stores the object."""

    async def body(api: Api) -> None:
        manifest = pod()
        manifest["spec"]["foo"] = 1
        code, status = await api("POST", PODS, manifest, fieldValidation="Strict")
        assert code == 400
        assert 'strict decoding error: unknown field "spec.foo"' in status["message"]
        async with api.session.post(api.base + PODS, json=manifest) as answer:
            assert answer.status == 201
            assert answer.headers.getall("Warning") == ['299 - "unknown field \\"spec.foo\\""']
        code, _ = await api("POST", PODS, pod("q"), fieldValidation="Perhaps")
        assert code == 400

    run(body)


def test_an_update_of_an_old_version_is_a_conflict(run: Run) -> None:
    """With an old resourceVersion 409, without one unconditional, unchanged keeps the version."""

    async def body(api: Api) -> None:
        first = await api.create(CONFIGMAPS, configmap("a", k="1"))
        second = {**first, "data": {"k": "2"}}
        code, changed = await api("PUT", f"{CONFIGMAPS}/a", second)
        assert code == 200
        code, status = await api("PUT", f"{CONFIGMAPS}/a", {**first, "data": {"k": "3"}})
        assert (code, status["reason"]) == (409, "Conflict")
        assert "the object has been modified; please apply your changes" in status["message"]
        code, again = await api("PUT", f"{CONFIGMAPS}/a", changed)
        assert (code, again) == (200, changed)
        code, forced = await api("PUT", f"{CONFIGMAPS}/a", configmap("a", k="4"))
        assert (code, forced["data"]) == (200, {"k": "4"})
        assert forced["metadata"]["uid"] == first["metadata"]["uid"]
        code, _ = await api("PUT", f"{CONFIGMAPS}/none", configmap("none"))
        assert code == 404
        wrong = configmap("a")
        wrong["metadata"]["uid"] = "another"
        code, status = await api("PUT", f"{CONFIGMAPS}/a", wrong)
        assert (code, "UID in precondition" in status["message"]) == (409, True)

    run(body)


def test_the_body_must_fit_the_url(run: Run) -> None:
    """Another kind, name or namespace than the URL's is 400, and nothing is stored."""

    async def body(api: Api) -> None:
        other = configmap("a")
        other["metadata"]["namespace"] = "kube-system"
        wrong_kind = pod("a")
        for manifest in (other, wrong_kind, {"metadata": []}, [1]):
            code, status = await api("POST", CONFIGMAPS, manifest)
            assert (code, status["kind"]) == (400, "Status"), manifest
        await api.create(CONFIGMAPS, configmap("a"))
        code, _ = await api("PUT", f"{CONFIGMAPS}/a", configmap("b"))
        assert code == 400
        code, status = await api("POST", CONFIGMAPS, b"{not json")
        assert (code, "json parse error" in status["message"]) == (400, True)
        code, _ = await api("POST", CONFIGMAPS, configmap("c"), dryRun="Some")
        assert code == 422

    run(body)


def test_a_dry_run_answers_and_stores_nothing(run: Run) -> None:
    """dryRun=All goes all the way but for the write."""

    async def body(api: Api) -> None:
        code, made = await api("POST", CONFIGMAPS, configmap("a"), dryRun="All")
        assert (code, made["metadata"]["name"]) == (201, "a")
        assert "resourceVersion" not in made["metadata"]
        code, _ = await api("GET", f"{CONFIGMAPS}/a")
        assert code == 404

    run(body)


def test_generation_counts_changes_of_the_spec(run: Run) -> None:
    """Labels and status leave metadata.generation; a new spec adds one."""

    async def body(api: Api) -> None:
        path = f"{DEPLOYMENTS}/web"
        made = await api.create(DEPLOYMENTS, deployment())
        assert made["metadata"]["generation"] == 1
        _, found = await api("PATCH", path, {"metadata": {"labels": {"a": "b"}}})
        assert found["metadata"]["generation"] == 1
        _, found = await api("PATCH", f"{path}/status", {"status": {"replicas": 1}})
        assert (found["metadata"]["generation"], found["status"]["replicas"]) == (1, 1)
        _, found = await api("PATCH", path, {"spec": {"replicas": 5}, "status": {"replicas": 9}})
        assert (found["metadata"]["generation"], found["spec"]["replicas"]) == (2, 5)
        assert found["status"]["replicas"] == 1

    run(body)


def test_pages_of_a_list_are_one_state(run: Run) -> None:
    """limit and continue walk through the list as it was when the first page was made."""

    async def body(api: Api) -> None:
        for i in range(5):
            await api.create(CONFIGMAPS, configmap(f"a{i}"))
        page = await api.get(CONFIGMAPS, limit="2")
        assert page["metadata"]["remainingItemCount"] == 3
        await api("DELETE", f"{CONFIGMAPS}/a3")
        await api.create(CONFIGMAPS, configmap("a9"))
        names = [item["metadata"]["name"] for item in page["items"]]
        while token := page["metadata"].get("continue"):
            page = await api.get(CONFIGMAPS, limit="2", **{"continue": token})
            names += [item["metadata"]["name"] for item in page["items"]]
        assert names == ["a0", "a1", "a2", "a3", "a4"]
        code, status = await api("GET", CONFIGMAPS, **{"continue": "nonsense"})
        assert (code, "continue key is not valid" in status["message"]) == (400, True)

    run(body)


def test_selectors_choose(run: Run) -> None:
    """Label and field selectors filter lists; a field nobody can be selected by is 400."""

    async def body(api: Api) -> None:
        await api.create(PODS, pod("a", labels={"app": "x"}))
        await api.create(PODS, pod("b", node="worker", labels={"app": "y"}))

        async def names(**query: str) -> list[str]:
            found = await api.get("/api/v1/pods", **query)
            return [item["metadata"]["name"] for item in found["items"]]

        assert await names() == ["a", "b"]
        assert await names(labelSelector="app in (x,z)") == ["a"]
        assert await names(fieldSelector="spec.nodeName=worker,status.phase!=Failed") == ["b"]
        assert await names(fieldSelector="metadata.name=a") == ["a"]
        assert await names(fieldSelector="metadata.name!=a") == ["b"]
        assert await names(fieldSelector="metadata.name=a", labelSelector="app=y") == []
        assert await names(labelSelector="app", limit="1") == ["a"]
        for query in (
            {"fieldSelector": "spec.foo=x"},
            {"labelSelector": "a in (b"},
            {"limit": "x"},
        ):
            code, status = await api("GET", PODS, **query)
            assert (code, status["reason"]) == (400, "BadRequest")

    run(body)


def test_bodies_and_answers_speak_json(run: Run) -> None:
    """YAML bodies are read; protobuf bodies are 415; a client that takes only protobuf gets 406."""

    async def body(api: Api) -> None:
        protobuf = "application/vnd.kubernetes.protobuf"
        text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\ndata: {k: v}\n"
        code, made = await api(
            "POST", CONFIGMAPS, text, headers={"Content-Type": "application/yaml"}
        )
        assert (code, made["data"]) == (201, {"k": "v"})
        code, _ = await api("POST", CONFIGMAPS, b"k8s\0", headers={"Content-Type": protobuf})
        assert code == 415
        code, _ = await api("GET", CONFIGMAPS, headers={"Accept": protobuf})
        assert code == 406
        code, _ = await api("POST", CONFIGMAPS, configmap("z"), headers={"Accept": protobuf})
        assert code == 406
        code, _ = await api("GET", f"{CONFIGMAPS}/z")
        assert code == 404
        code, _ = await api("GET", CONFIGMAPS, headers={"Accept": f"{protobuf}, application/json"})
        assert code == 200
        code, found = await api(
            "GET",
            f"{CONFIGMAPS}/y",
            headers={"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"},
        )
        assert (found["kind"], "data" in found) == ("PartialObjectMetadata", False)

    run(body)


def test_kubectl_gets_a_table(run: Run) -> None:
    """The Accept header of kubectl get is answered with a metav1.Table, in its version."""

    async def body(api: Api) -> None:
        await api.create(CONFIGMAPS, configmap("a"))
        for version in ("v1", "v1beta1"):
            accept = f"application/json;as=Table;v={version};g=meta.k8s.io,application/json"
            for path in (CONFIGMAPS, f"{CONFIGMAPS}/a"):
                code, table = await api("GET", path, headers={"Accept": accept})
                assert (code, table["kind"]) == (200, "Table")
                assert table["apiVersion"] == f"meta.k8s.io/{version}"
                assert table["rows"][-1]["cells"][0] in ("a", "kube-root-ca.crt")
                assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"

    run(body)


def test_patches_of_three_kinds(run: Run) -> None:
    """JSON, merge and strategic merge patches are applied; a patch of an old version is a conflict."""

    async def body(api: Api) -> None:
        path = f"{CONFIGMAPS}/a"
        made = await api.create(CONFIGMAPS, configmap("a", k="1", gone="x"))
        _, found = await api("PATCH", path, {"data": {"gone": None, "m": "2"}})
        assert found["data"] == {"k": "1", "m": "2"}
        operations = [{"op": "replace", "path": "/data/k", "value": "3"}]
        _, found = await api(
            "PATCH", path, operations, headers={"Content-Type": "application/json-patch+json"}
        )
        assert found["data"]["k"] == "3"
        kind = {"Content-Type": "application/strategic-merge-patch+json"}
        _, found = await api("PATCH", path, {"data": {"k": "4"}}, headers=kind)
        assert found["data"] == {"k": "4", "m": "2"}
        version = made["metadata"]["resourceVersion"]
        old = {"metadata": {"resourceVersion": version}, "data": {"k": "5"}}
        code, status = await api("PATCH", path, old)
        assert (code, status["reason"]) == (409, "Conflict")
        code, _ = await api("PATCH", path, b"{}", headers={"Content-Type": "text/plain"})
        assert code == 415
        assert MERGE.startswith("application/")

    run(body)


def test_a_large_body_is_refused(run: Run) -> None:
    """More than 3 MiB is 413, and the server goes on."""

    async def body(api: Api) -> None:
        code, status = await api("POST", CONFIGMAPS, configmap("a", k="x" * (3 << 20)))
        assert (code, status["reason"]) == (413, "RequestEntityTooLarge")
        await api.create(CONFIGMAPS, configmap("a", k="x"))

    run(body)


def test_scale_is_a_view_of_replicas(run: Run) -> None:
    """GET, PUT and PATCH of /scale read and set spec.replicas."""

    async def body(api: Api) -> None:
        path = f"{DEPLOYMENTS}/web"
        await api.create(DEPLOYMENTS, deployment(replicas=2))
        scale = await api.get(f"{path}/scale")
        assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 2)
        assert scale["status"]["selector"] == "app=web"
        code, scale = await api("PATCH", f"{path}/scale", {"spec": {"replicas": 3}})
        assert (code, scale["spec"]["replicas"]) == (200, 3)
        scale["spec"]["replicas"] = 4
        code, scale = await api("PUT", f"{path}/scale", scale)
        assert code == 200
        found = await api.get(path)
        assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (4, 3)
        code, _ = await api("PATCH", f"{path}/scale", {"spec": {"replicas": -1}})
        assert code == 422

    run(body)


def test_a_status_brings_annotations_along(run: Run) -> None:
    """Whoever writes a status may note something beside it, checked as ever; labels of Deployments stay."""

    async def body(api: Api) -> None:
        for place, made in ((PODS, pod("p")), (DEPLOYMENTS, deployment("d"))):
            name = (await api.create(place, made))["metadata"]["name"]
            note = {"labels": {"l": "1"}, "annotations": {"a": "1"}, "finalizers": ["x.dev/f"]}
            path = f"{place}/{name}/status"
            code, found = await api(
                "PATCH", path, {"metadata": note}, headers={"Content-Type": MERGE}
            )
            assert code == 200, found
            about = found["metadata"]
            assert about["annotations"]["a"] == "1"
            assert ("l" in about.get("labels", {})) == (place == PODS)
            assert "finalizers" not in about
            wrong = {"metadata": {"annotations": {"no good": "1"}}}
            code, refused = await api("PATCH", path, wrong, headers={"Content-Type": MERGE})
            assert (code, refused["reason"]) == (422, "Invalid")

    run(body)
