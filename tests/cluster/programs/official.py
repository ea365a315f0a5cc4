"""The official Python client against a cluster: each function is a fact, named on the command line."""

# mypy: ignore-errors
# ruff: noqa: PT017, PT018
import sys
import threading

from kubernetes import client, config, dynamic, stream, watch
from kubernetes.client.rest import ApiException

NAMESPACE = "default"
LABELS = {"app": "official"}


def _configmap(name, **data):
    return client.V1ConfigMap(
        metadata=client.V1ObjectMeta(name=name, labels=LABELS), data=data or {"a": "1"}
    )


def _deployment(name):
    container = client.V1Container(
        name="c", image="x", ports=[client.V1ContainerPort(container_port=80)]
    )
    return client.V1Deployment(
        metadata=client.V1ObjectMeta(name=name),
        spec=client.V1DeploymentSpec(
            replicas=0,
            selector=client.V1LabelSelector(match_labels=LABELS),
            template=client.V1PodTemplateSpec(
                metadata=client.V1ObjectMeta(labels=LABELS),
                spec=client.V1PodSpec(containers=[container]),
            ),
        ),
    )


def _refused(code, call, *args, **options):
    try:
        call(*args, **options)
    except ApiException as error:
        assert error.status == code, error
        return error
    raise AssertionError(f"{code} expected")


def discovery():
    """Versions, groups, resources and the dynamic client that is made of them."""
    assert int(client.VersionApi().get_code().minor.rstrip("+")) > 0
    assert {"apps", "discovery.k8s.io"} <= {
        g.name for g in client.ApisApi().get_api_versions().groups
    }
    assert "pods" in {r.name for r in client.CoreV1Api().get_api_resources().resources}
    pods = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="v1", kind="Pod")
    assert pods.get(namespace="kube-system").items


def lists():
    """Lists in pages and by selector are whole."""
    core = client.CoreV1Api()
    names = {f"official-{number}" for number in range(7)}
    for name in names:
        core.create_namespaced_config_map(NAMESPACE, _configmap(name))
    found, token = [], None
    while token is None or token:
        page = core.list_namespaced_config_map(
            NAMESPACE, label_selector="app=official", limit=3, _continue=token
        )
        found += [item.metadata.name for item in page.items]
        token = page.metadata._continue or ""
    assert sorted(found) == sorted(names), found
    one = core.list_namespaced_config_map(NAMESPACE, field_selector="metadata.name=official-3")
    assert [item.metadata.name for item in one.items] == ["official-3"]
    core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="app=official")
    assert not core.list_namespaced_config_map(NAMESPACE, label_selector="app=official").items


def watches():
    """A watch that ends goes on from where it was: every event once, in order; an old place is 410."""
    core = client.CoreV1Api()
    start = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    seen, version = [], start
    core.create_namespaced_config_map(NAMESPACE, _configmap("watched"))
    for step in range(3):
        core.patch_namespaced_config_map("watched", NAMESPACE, {"data": {"step": str(step)}})
        watcher = watch.Watch()
        for event in watcher.stream(
            core.list_namespaced_config_map,
            NAMESPACE,
            resource_version=version,
            label_selector="app=official",
            timeout_seconds=10,
        ):
            seen.append((event["type"], event["object"].data.get("step")))
            version = event["object"].metadata.resource_version
            if event["object"].data.get("step") == str(step):
                watcher.stop()
    core.delete_namespaced_config_map("watched", NAMESPACE)
    for event in watch.Watch().stream(
        core.list_namespaced_config_map, NAMESPACE, resource_version=version, timeout_seconds=1
    ):
        if event["object"].metadata.name == "watched":
            seen.append((event["type"], None))
    wanted = [("ADDED", None), *(("MODIFIED", str(step)) for step in range(3)), ("DELETED", None)]
    assert seen == wanted, seen
    try:
        far = str(int(version) + 1_000_000)
        for _ in watch.Watch().stream(
            core.list_namespaced_config_map, NAMESPACE, resource_version=far, timeout_seconds=2
        ):
            raise AssertionError("an event of the future")
    except ApiException as error:
        assert error.status == 410, error


def patches():
    """JSON, merge, strategic merge and apply patches each do what their kind does."""
    apps = client.AppsV1Api()
    name = "official"
    apps.create_namespaced_deployment(NAMESPACE, _deployment(name))
    second = {"spec": {"template": {"spec": {"containers": [{"name": "d", "image": "y"}]}}}}

    def patch(body, media, **options):
        done = apps.patch_namespaced_deployment(
            name, NAMESPACE, body, _content_type=media, **options
        )
        return [c.name for c in done.spec.template.spec.containers], done

    try:
        assert patch(second, "application/strategic-merge-patch+json")[0] == ["d", "c"]
        assert patch(second, "application/merge-patch+json")[0] == ["d"]
        body = [{"op": "replace", "path": "/spec/template/spec/containers/0/name", "value": "e"}]
        assert patch(body, "application/json-patch+json")[0] == ["e"]
        applied = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "labels": {"by": "apply"}},
            "spec": {"paused": True},
        }
        done = patch(applied, "application/apply-patch+yaml", field_manager="official")[1]
        assert done.spec.paused and done.metadata.labels["by"] == "apply"
        assert "official" in {entry.manager for entry in done.metadata.managed_fields}
        applied["spec"]["paused"] = False
        error = _refused(
            409, patch, applied, "application/apply-patch+yaml", field_manager="another"
        )
        assert "conflict" in error.body
        done = patch(applied, "application/apply-patch+yaml", field_manager="another", force=True)
        assert not done[1].spec.paused
        error = _refused(422, patch, {"spec": {"replicas": -1}}, "application/merge-patch+json")
        assert "spec.replicas" in error.body
        scale = apps.patch_namespaced_deployment_scale(name, NAMESPACE, {"spec": {"replicas": 1}})
        assert scale.spec.replicas == 1
    finally:
        apps.delete_namespaced_deployment(name, NAMESPACE)


def deletions():
    """Preconditions, dry run, finalizers and propagation are honoured."""
    core = client.CoreV1Api()
    made = _configmap("kept")
    made.metadata.finalizers = ["example.com/hold"]
    made = core.create_namespaced_config_map(NAMESPACE, made)

    def delete(**options):
        return core.delete_namespaced_config_map("kept", NAMESPACE, **options)

    wrong = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="x"))
    _refused(409, delete, body=wrong)
    delete(dry_run="All")
    assert core.read_namespaced_config_map("kept", NAMESPACE).metadata.deletion_timestamp is None
    right = client.V1Preconditions(uid=made.metadata.uid)
    options = client.V1DeleteOptions(
        preconditions=right, grace_period_seconds=0, propagation_policy="Background"
    )
    delete(body=options)
    assert core.read_namespaced_config_map("kept", NAMESPACE).metadata.deletion_timestamp
    core.patch_namespaced_config_map("kept", NAMESPACE, {"metadata": {"finalizers": None}})
    _refused(404, core.read_namespaced_config_map, "kept", NAMESPACE)


def _pod():
    pods = client.CoreV1Api().list_namespaced_pod(NAMESPACE, label_selector="app=example").items
    return pods[0].metadata.name


def executes():
    """exec gives output, errors, the exit code, and takes input."""
    core = client.CoreV1Api()
    name = _pod()
    call = core.connect_get_namespaced_pod_exec
    said = stream.stream(
        call,
        name,
        NAMESPACE,
        command=["hostname"],
        stdout=True,
        stderr=True,
        stdin=False,
        tty=False,
    )
    assert said == f"{name}\n", said
    talk = stream.stream(
        call,
        name,
        NAMESPACE,
        command=["sh", "-c", "read x; echo got $x; echo bad >&2; exit 7"],
        stdout=True,
        stderr=True,
        stdin=True,
        tty=False,
        _preload_content=False,
    )
    talk.write_stdin("word\n")
    talk.run_forever(timeout=10)
    assert talk.read_stdout() == "got word\n"
    assert talk.read_stderr() == "bad\n"
    assert talk.returncode == 7, talk.returncode
    assert isinstance(core.read_namespaced_pod_log(name, NAMESPACE, tail_lines=5), str)


def forwards():
    """A forwarded port speaks HTTP with the pod."""
    core = client.CoreV1Api()
    name = _pod()
    ports = core.read_namespaced_pod(name, NAMESPACE).spec.containers[0].ports
    port = ports[0].container_port
    forward = stream.portforward(
        core.connect_get_namespaced_pod_portforward, name, NAMESPACE, ports=str(port)
    )
    socket = forward.socket(port)
    socket.setblocking(True)
    socket.settimeout(10)
    socket.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = b""
    while data := socket.recv(4096):
        answer += data
    assert answer.startswith(b"HTTP/1.1 200"), answer[:100]
    assert forward.error(port) is None


def elections():
    """Of two candidates one leads; when it stops renewing, the other takes over."""
    from kubernetes.leaderelection import electionconfig, leaderelection
    from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

    led = []

    class Gone(Exception):
        pass

    def candidate(name):
        started = threading.Event()

        def lead():
            led.append(name)
            started.set()
            raise Gone  # its leading ends at once, and with it its renewing

        made = electionconfig.Config(
            LeaseLock("official", NAMESPACE, name),
            lease_duration=3,
            renew_deadline=2,
            retry_period=1,
            onstarted_leading=lead,
            onstopped_leading=lambda: None,
        )
        thread = threading.Thread(target=leaderelection.LeaderElection(made).run, daemon=True)
        thread.start()
        return thread, started

    first, leads = candidate("first")
    assert leads.wait(10)
    second, leads = candidate("second")
    lease = client.CoordinationV1Api().read_namespaced_lease("official", NAMESPACE)
    assert lease.spec.holder_identity == "first", lease
    assert leads.wait(20)
    assert led == ["first", "second"]
    for thread in (first, second):
        thread.join(10)
    client.CoordinationV1Api().delete_namespaced_lease("official", NAMESPACE)


if __name__ == "__main__":
    config.load_kube_config()
    globals()[sys.argv[1]]()
    print("ok")
