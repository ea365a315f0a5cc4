"""logs, exec, attach, cp, port-forward and proxy as people use them: with the kubectl they have."""

import fcntl
import hashlib
import os
import pty
import re
import select
import shutil
import struct
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from netpod.linux import process
from tests.support import host, kubectl, wait
from tests.support.cluster import NETPOD, Cluster
from tests.support.kubectl import Kubectl

MIB = 1 << 20


@pytest.fixture(params=kubectl.found() or [None], ids=lambda path: Path(path or "none").name)
def k(request: pytest.FixtureRequest, cluster: Cluster) -> Kubectl:
    """Each kubectl in turn."""
    if request.param is None:
        pytest.skip("no kubectl on this machine")
    return Kubectl(request.param, cluster)


@pytest.fixture
def pod(cluster: Cluster) -> str:
    """Name of a pod of the example."""
    return str(cluster.ready_pods()[0]["metadata"]["name"])


def test_exec_passes_output_and_exit_code_on(k: Kubectl, pod: str) -> None:
    """Both outputs arrive apart, and the program's exit code is kubectl's."""
    result = k("exec", pod, "--", "sh", "-c", "hostname; echo bad >&2; exit 3")
    assert result.code == 3
    assert result.stdout == f"{pod}\n"
    assert result.stderr.startswith("bad\n")


def test_exec_ends_while_something_goes_on(k: Kubectl, pod: str) -> None:
    """What a program leaves running holds its pipes open; the program has ended all the same."""
    assert k.ok("exec", pod, "--", "sh", "-c", "sleep 60 & echo done", timeout=10) == "done\n"


def test_ten_megabytes_go_in_and_come_back(k: Kubectl, pod: str, tmp_path: Path) -> None:
    """Standard input reaches the program whole and ends; its output comes back whole."""
    data = os.urandom(10 * MIB)
    (tmp_path / "data").write_bytes(data)
    wanted = hashlib.sha256(data).hexdigest()
    inside = k.shell('"$K" exec -i "$1" -- sha256sum < "$2"', pod, str(tmp_path / "data"))
    assert inside.stdout.split()[:1] == [wanted]
    back = k.shell('"$K" exec -i "$1" -- cat < "$2" | sha256sum', pod, str(tmp_path / "data"))
    assert back.stdout.split()[:1] == [wanted]


def test_a_program_need_not_read_its_input(k: Kubectl, pod: str) -> None:
    """Endless input ends with the program that wanted four bytes of it."""
    result = k.shell('yes | "$K" exec -i "$1" -- head -c 4', pod, timeout=15)
    assert result.stdout == "y\ny\n"


def test_a_terminal_has_our_size_and_exit_code(k: Kubectl, pod: str) -> None:
    """`exec -it` gives the program a terminal of our terminal's size, also when that changes."""
    pid, fd = pty.fork()
    if not pid:
        os.execvpe(k.path, [k.path, "exec", "-it", pod, "--", "sh"], {**os.environ, **k.env})
    try:
        _resize(fd, 101, 33)
        _expect(fd, r"[#$] ")
        _type(fd, "stty size\n")
        _expect(fd, r"33 101")
        _resize(fd, 77, 22)
        # The size follows on a stream of its own, so it may come a moment after what is typed.
        _type(fd, "until [ \"$(stty size)\" = '22 77' ]; do sleep .05; done; tty; exit 5\n")
        _expect(fd, r"/dev/pts/\d+")
        _drain(fd)
    finally:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(fd)
    assert code == 5


def test_a_client_that_vanishes_takes_its_program_along(
    k: Kubectl, pod: str, cluster: Cluster, tmp_path: Path
) -> None:
    """Nobody would ever end the program of a client that was killed."""
    mark = f"4{os.getpid()}"
    with k.running(tmp_path / "out", "exec", pod, "--", "sleep", mark):
        wait.until(lambda: _sleepers(mark), "the program runs")
    wait.until(lambda: not _sleepers(mark), "the program is gone")


def _sleepers(mark: str) -> list[int]:
    return [pid for pid, argv in host.processes().items() if argv.strip() == f"sleep {mark}"]


@pytest.mark.parametrize(
    ("argv", "cause"),
    [
        (
            ("exec", "{pod}", "-c", "nope", "--", "true"),
            "container nope is not valid for pod {pod}",
        ),
        (("logs", "{pod}", "-c", "nope"), "container nope is not valid for pod {pod}"),
        (
            ("logs", "{pod}", "-p"),
            'previous terminated container "web" in pod "{pod}" not found',
        ),
        (("logs", "nobody"), 'pods "nobody" not found'),
    ],
)
def test_refusals_are_upstreams(k: Kubectl, pod: str, argv: tuple[str, ...], cause: str) -> None:
    """People search the web for these sentences."""
    result = k(*(word.format(pod=pod) for word in argv))
    assert result.code == 1
    assert cause.format(pod=pod) in result.stderr


def test_logs_follow_and_attach_show_what_comes(k: Kubectl, pod: str, tmp_path: Path) -> None:
    """A request made while kubectl watches is in its output."""
    for verb in (("logs", "-f", "--tail=0", pod), ("attach", pod)):
        output = tmp_path / verb[0]
        with k.running(output, *verb):

            def told(output: Path = output) -> bool:
                k("exec", pod, "--", "curl", "-s", f"localhost:8080/seen-by-{output.name}")
                return f"/seen-by-{output.name}" in output.read_text()

            wait.until(told, f"{verb[0]} shows the request", timeout=15)


def test_logs_have_their_options(k: Kubectl, pod: str) -> None:
    """--tail, --timestamps and --limit-bytes narrow what is there."""
    for number in range(3):
        k.ok("exec", pod, "--", "curl", "-s", f"localhost:8080/line-{number}")
    wait.until(lambda: "/line-2" in k.ok("logs", pod, "--tail=1"), "the last line is there")
    lines = k.ok("logs", pod, "--tail=2", "--timestamps").splitlines()
    assert len(lines) == 2
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z ", line) for line in lines)
    assert len(k.ok("logs", pod, "--limit-bytes=10")) == 10
    assert k.ok("logs", pod, "--since=1h").count("/line-2") >= 1


def test_cp_brings_files_out(k: Kubectl, pod: str, tmp_path: Path) -> None:
    """cp is tar on both ends of an exec."""
    k.ok("cp", f"{pod}:/etc/hosts", str(tmp_path / "hosts"))
    assert pod in (tmp_path / "hosts").read_text()


@pytest.fixture(scope="module")
def program(cluster: Cluster) -> Iterator[str]:
    """A pod with files and a standard input of its own: a program of this machine under an OCI runtime."""
    if not (shutil.which("crun") or shutil.which("runc")):
        pytest.skip("no OCI runtime on this machine")
    path = "/api/v1/namespaces/default/pods"
    script = "while read word; do echo got $word; done"
    container = {"name": "sh", "image": "netpod.dev/host", "stdin": True}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "program", "labels": {"app": "program"}},
        "spec": {
            "containers": [
                {**container, "command": ["sh", "-c", script]},
                {**container, "name": "terminal", "tty": True, "command": ["sh"]},
            ],
            "terminationGracePeriodSeconds": 0,
        },
    }
    cluster.request("POST", path, body=body)
    wait.until(lambda: cluster.ready_pods("app=program"), "the pod is ready")
    yield "program"
    cluster.request("DELETE", f"{path}/program")
    wait.until(lambda: not cluster.try_get(f"{path}/program"), "the pod is gone")


def test_cp_takes_files_in_and_out(k: Kubectl, program: str, tmp_path: Path) -> None:
    """What is copied in is there for every later exec, and comes back the same."""
    data = os.urandom(MIB)
    (tmp_path / "file").write_bytes(data)
    k.ok("cp", str(tmp_path / "file"), f"{program}:/tmp/file")
    inside = k.ok("exec", program, "--", "sha256sum", "/tmp/file").split()[0]
    assert inside == hashlib.sha256(data).hexdigest()
    k.ok("cp", f"{program}:/tmp/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == data


def test_attach_passes_input_on(k: Kubectl, program: str) -> None:
    """`attach -i` types at the container's own program, and shows what that answers."""
    script = '(sleep 1; echo word-$$; sleep 2) | timeout 4 "$K" attach -i "$1" -c sh'
    assert re.search(r"got word-\d+", k.shell(script, program).stdout)


def test_an_attached_terminal_has_our_size(k: Kubectl, program: str) -> None:
    """The container's own terminal takes the size of the one that is attached to it, whenever that changes."""
    pid, fd = pty.fork()
    if not pid:
        argv = [k.path, "attach", "-it", program, "-c", "terminal"]
        os.execvpe(k.path, argv, {**os.environ, **k.env})
    try:
        for width, height in ((101, 33), (77, 22)):
            _resize(fd, width, height)
            same = f"\"$(stty size)\" = '{height} {width}'"
            _type(fd, f"until [ {same} ]; do sleep .05; done; echo {width}-columns\n")
            _expect(fd, rf"(?m)^{width}-columns")
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(fd)


@pytest.fixture
def forwarded(k: Kubectl, pod: str, tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A free port here that leads to the pod, and what kubectl said."""
    output = tmp_path / "forward"
    with k.running(output, "port-forward", f"pod/{pod}", ":8080", ":9"):
        wait.until(lambda: output.read_text().count("127.0.0.1:") == 2, "both ports are open")
        ports = re.findall(r"127\.0\.0\.1:(\d+) -> 8080", output.read_text())
        yield int(ports[0]), output


def test_port_forward_carries_requests(k: Kubectl, pod: str, forwarded: tuple[int, Path]) -> None:
    """Several connections at once reach the pod's own 127.0.0.1."""
    url = f"http://127.0.0.1:{forwarded[0]}/"
    script = 'for i in 1 2 3 4 5 6; do curl -s -m 5 "$1" & done; wait'
    answers = k.shell(script, url).stdout
    assert answers.count(f'"pod":"{pod}"') == 6
    assert answers.count('"client":"127.0.0.1"') == 6


def test_port_forward_says_that_nobody_listens(
    k: Kubectl, pod: str, forwarded: tuple[int, Path]
) -> None:
    """A refused connection inside the pod is told by kubectl."""
    output = forwarded[1]
    closed = re.findall(r"127\.0\.0\.1:(\d+) -> 9", output.read_text())[0]
    k.shell('curl -s -m 5 "$1"', f"http://127.0.0.1:{closed}/")
    wait.until(lambda: "connection refused" in output.read_text(), "kubectl tells of it")


def test_the_api_leads_to_pods_services_and_nodes(k: Kubectl, pod: str) -> None:
    """proxy subresources hand paths and queries on."""
    inside = "/api/v1/namespaces/default"
    for name in ("example-service", "http:example-service:80", "example-service:"):
        answer = k.ok("get", "--raw", f"{inside}/services/{name}/proxy/a%20b?x=1")
        assert '"path":"/a%20b?x=1"' in answer
    assert f'"pod":"{pod}"' in k.ok("get", "--raw", f"{inside}/pods/{pod}:8080/proxy/")
    assert k.ok("get", "--raw", "/api/v1/nodes/worker/proxy/healthz") == "ok"
    refused = k("get", "--raw", f"{inside}/services/example-service:81/proxy/")
    assert 'no service port "81" found for service "example-service"' in refused.stderr


def test_the_command_line_forwards_ports_too(cluster: Cluster, tmp_path: Path) -> None:
    """`netpod port-forward svc/NAME` translates the Service's port to the pod's."""
    output = tmp_path / "out"
    fd = os.open(output, os.O_WRONLY | os.O_CREAT, 0o600)
    argv = [*NETPOD, "--cluster", cluster.name, "port-forward", "svc/example-service", ":80"]
    pid = process.spawn(argv, stdout=fd, stderr=fd)
    os.close(fd)
    try:
        wait.until(lambda: "Forwarding from" in output.read_text(), "the port is open")
        found = re.search(r"127\.0\.0\.1:(\d+) -> 8080", output.read_text())
        assert found
        answer = kubectl.call("curl", "-s", "-m", "5", f"http://127.0.0.1:{found[1]}/").stdout
        assert '"client":"127.0.0.1"' in answer
    finally:
        os.kill(pid, 2)
        os.waitpid(pid, 0)


def _resize(fd: int, width: int, height: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


def _type(fd: int, text: str) -> None:
    os.write(fd, text.encode())


def _expect(fd: int, pattern: str) -> None:
    seen = ""

    def matches() -> bool:
        nonlocal seen
        if select.select([fd], [], [], 0.05)[0]:
            seen += os.read(fd, 4096).decode(errors="replace")
        return re.search(pattern, seen) is not None

    wait.until(matches, f"{pattern} on the terminal; seen {seen!r}")


def _drain(fd: int) -> None:
    """Read until the program has let go of the terminal."""
    try:
        while os.read(fd, 4096):
            pass
    except OSError:
        return


@pytest.fixture
def lone(cluster: Cluster) -> Iterator[str]:
    """A pod of its own, which a test may kill."""
    path = "/api/v1/namespaces/default/pods"
    container = {"name": "web", "image": "netpod.dev/echo", "ports": [{"containerPort": 8080}]}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "lone", "labels": {"app": "lone"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    cluster.request("POST", path, body=body)
    wait.until(lambda: cluster.ready_pods("app=lone"), "the pod is ready")
    yield "lone"
    if cluster.try_get(f"{path}/lone"):
        cluster.request("DELETE", f"{path}/lone")
        wait.until(lambda: not cluster.try_get(f"{path}/lone"), "the pod is gone")


def test_logs_of_a_pods_whole_life(lone: str, cluster: Cluster, tmp_path: Path) -> None:
    """-f ends with the container; -p shows the run before the last; -f ends with the pod, too."""
    paths = kubectl.found()
    if not paths:
        pytest.skip("no kubectl on this machine")
    k = Kubectl(paths[0], cluster)
    k.ok("exec", lone, "--", "curl", "-s", "localhost:8080/first-life")
    with k.running(tmp_path / "first", "logs", "-f", lone) as pid:
        pidfd = os.pidfd_open(pid)
        wait.until(lambda: "/first-life" in (tmp_path / "first").read_text(), "the line is there")
        os.kill(_container_pid(cluster, lone), 9)
        assert process.wait(pidfd, 10), "logs -f ends with the container"
        os.close(pidfd)
    wait.until(lambda: _restarts(cluster, lone) == 1, "the container runs again")
    wait.until(lambda: cluster.ready_pods("app=lone"), "the pod is ready again")
    assert "/first-life" in k.ok("logs", "-p", lone)
    assert "/first-life" not in k.ok("logs", lone)
    with k.running(tmp_path / "second", "logs", "-f", lone) as pid:
        pidfd = os.pidfd_open(pid)
        k.ok("delete", "pod", lone)
        assert process.wait(pidfd, 10), "logs -f ends with the pod"
        os.close(pidfd)


def _container_pid(cluster: Cluster, pod: str) -> int:
    found = cluster.get(f"/api/v1/namespaces/default/pods/{pod}")
    name = found["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    directory = cluster.paths.node(found["spec"]["nodeName"]) / "containers" / name
    return int((directory / "pid").read_text().split()[0])


def _restarts(cluster: Cluster, pod: str) -> int:
    found = cluster.get(f"/api/v1/namespaces/default/pods/{pod}")
    return int(found["status"]["containerStatuses"][0]["restartCount"])


def test_a_kubelet_answers_whom_the_api_server_vouches_for(cluster: Cluster) -> None:
    """Without certificate or token there is a refusal, and with another certificate of the cluster's too."""
    node = cluster.get("/api/v1/nodes/worker")["status"]["addresses"][0]["address"]
    pki = cluster.paths.pki

    def ask(*role: str) -> str:
        argv = ["curl", "-s", "-m", "5", "--cacert", f"{pki}/ca.crt"]
        for name in role:
            argv += ["--cert", f"{pki}/{name}.crt", "--key", f"{pki}/{name}.key"]
        netns = cluster.paths.netns_node("control-plane")
        return kubectl.call(*argv, f"https://{node}:10250/healthz", netns=netns).stdout

    assert ask().startswith("Forbidden (user=system:anonymous")
    assert ask("dns").startswith("Forbidden")
    assert ask("kube-apiserver-kubelet-client") == "ok"
