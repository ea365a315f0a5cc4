"""What the server adds to objects, and what it refuses, before they are stored."""

from collections.abc import Awaitable, Callable

from tests.unit.apiserver.support import PODS, SERVICES, Api, Json, pod, service

Run = Callable[[Callable[[Api], Awaitable[None]]], None]
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
CLASSES = "/apis/networking.k8s.io/v1/ingressclasses"
SECRETS = "/api/v1/namespaces/default/secrets"


def ingress(name: str, **spec: Json) -> Json:
    """An Ingress manifest with one path."""
    backend = {"service": {"name": "s", "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    rules = [{"host": "example.com", "http": {"paths": [path]}}]
    return {"metadata": {"name": name}, "spec": {"rules": rules, **spec}}


def test_a_pod_gets_what_every_pod_has(run: Run) -> None:
    """ServiceAccount default, 300 s on nodes that stop answering, phase Pending, a QoS class."""

    async def body(api: Api) -> None:
        wished = pod("a")
        wished["status"] = {"phase": "Running", "podIP": "192.0.2.1"}
        made = await api.create(PODS, wished)
        assert made["spec"]["serviceAccountName"] == "default"
        tolerated = {t["key"]: t["tolerationSeconds"] for t in made["spec"]["tolerations"]}
        assert tolerated == {
            "node.kubernetes.io/not-ready": 300,
            "node.kubernetes.io/unreachable": 300,
        }
        assert made["status"]["phase"] == "Pending"
        assert "podIP" not in made["status"]
        assert made["status"]["qosClass"] == "BestEffort"
        own = pod("b")
        own["spec"]["tolerations"] = [{"operator": "Exists"}]
        own["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1", "memory": "1Gi"}}
        made = await api.create(PODS, own)
        assert made["spec"]["tolerations"] == [{"operator": "Exists"}]
        assert made["status"]["qosClass"] == "Guaranteed"

    run(body)


def test_an_ingress_gets_the_default_class(run: Run) -> None:
    """The IngressClass marked default is filled in, where none is named."""

    async def body(api: Api) -> None:
        await api.create("/api/v1/namespaces/default/services", service("s"))
        assert "ingressClassName" not in (await api.create(INGRESSES, ingress("a")))["spec"]
        marked = {"ingressclass.kubernetes.io/is-default-class": "true"}
        await api.create(CLASSES, {"metadata": {"name": "other"}, "spec": {"controller": "x.y/z"}})
        await api.create(
            CLASSES,
            {
                "metadata": {"name": "netpod", "annotations": marked},
                "spec": {"controller": "netpod.dev/ingress"},
            },
        )
        made = await api.create(INGRESSES, ingress("b"))
        assert made["spec"]["ingressClassName"] == "netpod"
        made = await api.create(INGRESSES, ingress("c", ingressClassName="other"))
        assert made["spec"]["ingressClassName"] == "other"

    run(body)


def test_string_data_of_a_secret_is_stored_encoded(run: Run) -> None:
    """stringData is write-only; data holds base64."""

    async def body(api: Api) -> None:
        manifest = {"metadata": {"name": "s"}, "stringData": {"k": "hello"}}
        made = await api.create(SECRETS, manifest)
        assert made["data"] == {"k": "aGVsbG8="}
        assert "stringData" not in made

    run(body)


def test_wrong_fields_are_named_in_upstreams_words(run: Run) -> None:
    """422 with one cause per field, and the message kubectl shows."""

    async def body(api: Api) -> None:
        code, status = await api(
            "POST", SERVICES, service("x", ports=[{"port": 70000, "targetPort": 80}])
        )
        assert code == 422
        assert status["message"] == (
            'Service "x" is invalid: spec.ports[0].port: Invalid value: 70000: '
            "must be between 1 and 65535, inclusive"
        )
        cause = status["details"]["causes"][0]
        assert cause["field"] == "spec.ports[0].port"
        assert cause["message"] == "Invalid value: 70000: must be between 1 and 65535, inclusive"
        code, status = await api(
            "POST", PODS, {"metadata": {"name": "p"}, "spec": {"containers": []}}
        )
        assert (code, "spec.containers" in status["message"]) == (422, True)
        await api.create(PODS, pod("q"))
        change = {"spec": {"nodeName": "worker"}}
        code, status = await api("PATCH", f"{PODS}/q", change)
        assert (code, status["reason"]) == (422, "Invalid")

    run(body)


PRIORITY_CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"


def test_a_pods_priority_is_its_classes(run: Run) -> None:
    """By name, or the global default; a class that is not there and another number are refused."""

    async def body(api: Api) -> None:
        plain = (await api.create(PODS, pod("plain")))["spec"]
        assert (plain["priority"], plain["preemptionPolicy"]) == (0, "PreemptLowerPriority")
        await api.create(
            PRIORITY_CLASSES,
            {"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"},
        )
        await api.create(
            PRIORITY_CLASSES,
            {"metadata": {"name": "usual"}, "value": 7, "globalDefault": True},
        )
        named = pod("named")
        named["spec"]["priorityClassName"] = "high"
        spec = (await api.create(PODS, named))["spec"]
        assert (spec["priority"], spec["preemptionPolicy"]) == (1000, "Never")
        spec = (await api.create(PODS, pod("default")))["spec"]
        assert (spec["priorityClassName"], spec["priority"]) == ("usual", 7)
        for wrong, words in (
            ({"priorityClassName": "none"}, "no PriorityClass with name none was found"),
            ({"priority": 3}, "the integer value of priority (3) must not be provided in pod spec"),
        ):
            refused = pod("refused")
            refused["spec"].update(wrong)
            code, answer = await api("POST", PODS, refused)
            assert code == 403
            assert words in answer["message"]

    run(body)


RUNTIME_CLASSES = "/apis/node.k8s.io/v1/runtimeclasses"


def test_a_pod_gets_what_its_runtime_class_asks_for(run: Run) -> None:
    """Overhead, selector and tolerations of the class; a class that is not there refuses the pod."""

    async def body(api: Api) -> None:
        scheduling = {"nodeSelector": {"sandbox": "vm"}, "tolerations": [{"key": "vm"}]}
        class_ = {"metadata": {"name": "vm"}, "handler": "vm", "scheduling": scheduling}
        await api.create(RUNTIME_CLASSES, {**class_, "overhead": {"podFixed": {"cpu": "250m"}}})
        named = pod("named")
        named["spec"]["runtimeClassName"] = "vm"
        spec = (await api.create(PODS, named))["spec"]
        assert (spec["overhead"], spec["nodeSelector"]) == ({"cpu": "250m"}, {"sandbox": "vm"})
        assert {"key": "vm"} in spec["tolerations"]
        for wrong, words in (
            ({"runtimeClassName": "gvisor"}, 'pod rejected: RuntimeClass "gvisor" not found'),
            ({"runtimeClassName": "vm", "nodeSelector": {"sandbox": "no"}}, "conflict: runtimeCl"),
            ({"overhead": {"cpu": "1"}}, "pod rejected: Pod Overhead set without corresponding"),
        ):
            refused = pod("refused")
            refused["spec"].update(wrong)
            code, answer = await api("POST", PODS, refused)
            assert code == 403
            assert words in answer["message"]

    run(body)


def test_what_is_no_quantity_is_no_pod(run: Run) -> None:
    """400 as from a decoder, in its words, and where it is."""

    async def body(api: Api) -> None:
        wrong = pod("wrong")
        wrong["spec"]["containers"][0]["resources"] = {"limits": {"memory": "1GB"}}
        code, answer = await api("POST", PODS, wrong)
        assert (code, answer["reason"]) == (400, "BadRequest")
        assert answer["message"].startswith(
            'Pod in version "v1" cannot be handled as a Pod: '
            'spec.containers[0].resources.limits[memory]: Invalid value: "1GB": '
            "quantities must match the regular expression"
        )

    run(body)


def test_a_gated_pod_says_so_and_its_gates_only_go(run: Run) -> None:
    """Condition PodScheduled has reason SchedulingGated; such a pod gets no node and no further gate."""

    async def body(api: Api) -> None:
        gated = pod("gated")
        gated["spec"]["schedulingGates"] = [{"name": "a.example/x"}, {"name": "a.example/y"}]
        made = await api.create(PODS, gated)
        (condition,) = made["status"]["conditions"]
        assert (condition["status"], condition["reason"]) == ("False", "SchedulingGated")
        target = {"apiVersion": "v1", "kind": "Node", "name": "n"}
        binding = {"metadata": {"name": "gated"}, "target": target}
        code, answer = await api("POST", f"{PODS}/gated/binding", binding)
        assert (code, "non-empty .spec.schedulingGates" in answer["message"]) == (409, True)
        made["spec"]["schedulingGates"] = [{"name": "a.example/y"}, {"name": "a.example/z"}]
        code, answer = await api("PUT", f"{PODS}/gated", made)
        assert (
            "only deletion is allowed, but found new scheduling gate 'a.example/z'"
            in (answer["message"])
        )
        made["spec"] |= {"schedulingGates": [], "nodeSelector": {"disk": "ssd"}}
        code, freed = await api("PUT", f"{PODS}/gated", made)
        assert (code, freed["spec"]["nodeSelector"]) == (200, {"disk": "ssd"})
        placed = pod("placed", node="n")
        placed["spec"]["schedulingGates"] = [{"name": "a.example/x"}]
        code, answer = await api("POST", PODS, placed)
        assert "cannot be set until all schedulingGates have been cleared" in answer["message"]

    run(body)


def test_every_field_of_a_pod_in_1_30_passes_strict_validation(run: Run) -> None:
    """kubectl asks for it: fields that netpod only keeps are no unknown fields."""

    async def body(api: Api) -> None:
        wished = pod("strict")
        spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
        policies = {"nodeTaintsPolicy": "Honor", "nodeAffinityPolicy": "Ignore"}
        wished["spec"] |= {
            "os": {"name": "linux"},
            "hostUsers": True,
            "topologySpreadConstraints": [{**spread, **policies, "matchLabelKeys": ["hash"]}],
        }
        resized = [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]
        wished["spec"]["containers"][0]["resizePolicy"] = resized
        made = await api.create(PODS, wished, fieldValidation="Strict")
        assert made["spec"]["topologySpreadConstraints"][0]["nodeTaintsPolicy"] == "Honor"
        assert made["spec"]["containers"][0]["resizePolicy"] == resized

    run(body)
