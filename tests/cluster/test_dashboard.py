"""The dashboard in a real browser: every view, a packet's way to its end, a refusal, an interruption."""

import http.client
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from netpod.client.blocking import MERGE_PATCH, BlockingClient
from tests.support import wait
from tests.support.cluster import Cluster

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
).split()
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
SECONDS = 20_000
"""Milliseconds that a fact may take to be seen."""

EMPTY = """
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec:
  selector: {app: nobody}
  ports: [{port: 80}]
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a screen."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def open_page(browser: Browser, cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Open the dashboard at a view; afterwards nothing may have complained or asked another host."""
    complaints: list[str] = []
    hosts: set[str] = set()
    pages: list[Page] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    def sent(asked: Request) -> None:
        hosts.add(asked.url.split("/")[2].partition(":")[0])

    def opened(view: str = "#/topology", *, edit: bool = False, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": 1360, "height": 850}, **options)
        page = context.new_page()
        page.set_default_timeout(SECONDS)
        page.on("console", heard)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", sent)
        link = cluster.ok("dashboard", *(["--allow-edit"] if edit else [])).stdout.strip()
        page.goto(link)
        assert "token" not in page.url
        page.goto(page.url + view)
        expect(page.locator("#connection")).to_have_text("live")
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.context.close()
    assert hosts <= {"127.0.0.1"}
    if "complains" not in request.keywords:
        assert not complaints


def _shot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def test_the_topology_shows_every_node_and_pod(open_page: Open, cluster: Cluster) -> None:
    """Nodes, pods, Services and the Ingress are there; what is chosen is explained beside the picture."""
    page = open_page()
    for node in ("control-plane", "worker", "worker2"):
        expect(page.get_by_role("button", name=f"Node {node}, Ready")).to_be_visible()
    for pod in cluster.ready_pods():
        name = pod["metadata"]["name"]
        expect(page.get_by_role("button", name=f"Pod default/{name}, Ready")).to_be_visible()
    service = page.get_by_role("button", name="Service default/example-service, ClusterIP")
    service.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".panel")).to_contain_text("ready endpoints3")
    expect(page.locator(".relations path")).to_have_count(4)
    _shot(page, "topology")
    assert page.locator('.thing[tabindex="0"]').count() == 1
    page.get_by_role("button", name="Outside").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator('[data-key="edge"]')).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator('[data-key^="node/"]:focus')).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator(".panel")).to_contain_text("conditionsReady=True")


def test_a_pod_that_dies_and_its_successor_are_seen(open_page: Open, cluster: Cluster) -> None:
    """A watch brings it; nobody reloads."""
    page = open_page()
    name = cluster.ready_pods()[0]["metadata"]["name"]
    pod = page.locator(f'[data-key="pod/default/{name}"]')
    expect(pod).to_be_visible()
    cluster.ok("delete", "pod", name, "--wait=false")
    expect(pod).to_have_count(0)
    wait.until(lambda: len(cluster.ready_pods()) == 3, "a successor")
    expect(page.locator('[data-key^="pod/default/"].good')).to_have_count(3)


def test_a_packet_is_followed_to_its_end_and_back(open_page: Open) -> None:
    """The eight steps are named; at kube-proxy's stop stand the rule and the rewrite; the last stop is the client."""
    page = open_page("#/packet")
    page.get_by_role("button", name="Send and follow").click()
    expect(page.locator(".stage .verdict")).to_have_text("DELIVERED")
    steps = page.locator(".steps button")
    assert [re.sub(r"^\d ", "", text) for text in steps.all_text_contents()] == [
        *("client", "load balancer", "ingress", "host and path rule", "Service", "kube-proxy"),
        *("container", "the way back"),
    ]
    page.get_by_role("button", name="6 kube-proxy").click()
    expect(page.locator(".now")).to_contain_text("KUBE-SEP-")
    expect(page.locator(".now mark").first).to_have_text(re.compile(r"10\.96\.1\.\d+:80"))
    _shot(page, "packet")
    page.get_by_label("Speed").select_option("very fast")
    page.get_by_role("button", name="Play").click()
    expect(page.locator(".stage .count")).to_have_text(re.compile(r"^(\d+) of \1$"))
    expect(page.locator(".now")).to_contain_text("arrives at 203.0.113.10")
    expect(page.locator("#play")).to_have_text("▶ Play")
    link = page.url
    again = open_page(link[link.index("#") :])
    expect(again.locator(".stage .verdict")).to_have_text("DELIVERED")


def test_a_refused_packet_ends_where_it_was_refused(open_page: Open, cluster: Cluster) -> None:
    """A Service without endpoints: the way ends at the node's rule. A trace of the command line plays too."""
    cluster.ok("apply", "-f", "-", stdin=EMPTY)
    try:
        name = cluster.ready_pods()[0]["metadata"]["name"]
        wait.until(
            lambda: cluster.cli("trace", "--from", f"pod/{name}", "svc/nobody").code == 3,
            "the rules of the Service are there",
        )
        page = open_page("#/packet", color_scheme="dark")
        page.locator(".traces a", has_text="svc/nobody").first.click()
        expect(page.locator(".stage .verdict")).to_have_text("REFUSED")
        page.get_by_role("button", name=re.compile("kube-proxy")).click()
        expect(page.locator(".over .cross")).to_be_visible()
        expect(page.locator(".now")).to_contain_text("has no endpoints")
        _shot(page, "refused")
    finally:
        cluster.ok("delete", "svc", "nobody")


@pytest.mark.complains
def test_a_form_that_means_nothing_is_explained(open_page: Open) -> None:
    """The command's own words; nothing is sent, nothing breaks."""
    page = open_page("#/packet")
    page.locator("#to").fill("svc/<b>nowhere</b>")
    with page.expect_response("**/traces") as answer:
        page.get_by_role("button", name="Send and follow").click()
    assert answer.value.status == 400
    expect(page.locator(".problem")).to_contain_text("nowhere")
    assert page.locator("b", has_text="nowhere").count() == 0


def test_rules_are_shown_and_their_changes(open_page: Open, cluster: Cluster) -> None:
    """The Service's chains as a graph; a Deployment that grows adds lines, and one that shrinks removes them."""
    page = open_page("#/rules/default/example-service")
    chain = page.locator(".chain", has=page.locator('b[title^="KUBE-SVC-"]'))
    expect(chain).to_be_visible()
    chain.click()
    expect(page.locator(".chain[open] code").first).to_be_visible()
    try:
        cluster.ok("scale", "deploy/example-app", "--replicas", "4")
        expect(page.locator(".changes .added code").first).to_contain_text("+")
        expect(page.locator(".changes .removed code").first).to_contain_text("−")
        _shot(page, "rules")
    finally:
        cluster.ok("scale", "deploy/example-app", "--replicas", "3")
        wait.until(lambda: len(cluster.pods()) == 3, "as before")


def test_rules_that_count_nothing_show_connections(open_page: Open, cluster: Cluster) -> None:
    """nftables mode has no counters, as upstream; conntrack knows who was led to which endpoint."""
    cluster.ok("proxy-mode", "nftables")
    try:
        page = open_page("#/rules/default/example-service")
        chain = page.locator(".chain", has=page.locator('b[title*="__10.244."]'))
        expect(chain).to_have_count(3)
        expect(page.locator(".bar")).to_contain_text("conntrack")
        for node in ("worker", "worker2"):
            for _ in range(4):
                cluster.ok("trace", "--from", f"node/{node}", "http://example-service.default/")
        expect(chain.filter(has_text=re.compile("[1-9][0-9]* connection")).first).to_be_visible()
        _shot(page, "rules-nftables")
    finally:
        cluster.ok("proxy-mode", "iptables")


def test_objects_are_tables_and_edited_by_who_may(open_page: Open, cluster: Cluster) -> None:
    """Columns as kubectl's; a link that only looks has no buttons; one that edits scales and applies."""
    page = open_page("#/objects/deployments")
    expect(page.locator("th").nth(2)).to_have_text("Ready")
    page.get_by_role("link", name="example-app").click()
    expect(page.locator(".yaml")).to_contain_text("kind: Deployment")
    expect(page.locator(".yaml")).not_to_contain_text("last-applied")
    expect(page.locator(".side .events")).to_contain_text("ScalingReplicaSet")
    assert page.get_by_role("button", name="Scale").count() == 0
    page = open_page("#/objects/deployments/default/example-app", edit=True)
    page.get_by_label("Replicas").fill("2")
    page.get_by_role("button", name="Scale").click()
    try:
        wait.until(lambda: len(cluster.pods()) == 2, "scaled by the page")
        page.get_by_text("Apply YAML").click()
        page.get_by_label("Manifests").fill(EMPTY.replace("nobody", "made-here"))
        page.get_by_role("button", name="Apply").click()
        wait.until(lambda: cluster.try_get("/api/v1/namespaces/default/services/made-here"), "made")
        _shot(page, "objects")
    finally:
        cluster.cli("delete", "svc", "made-here")
        cluster.ok("scale", "deploy/example-app", "--replicas", "3")
        wait.until(lambda: len(cluster.ready_pods()) == 3, "as before")


def test_markup_stays_text_and_a_thousand_changes_are_followed(
    open_page: Open, cluster: Cluster
) -> None:
    """What an event says is shown, never made an element; of a flood of changes the last is seen."""
    evil = "<img src=x onerror=\"document.title='hit'\"><script>document.title='hit'</script>"
    about = cluster.ready_pods()[0]["metadata"]
    name = about["name"]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": "evil-", "annotations": {"evil": evil}},
        "involvedObject": {
            "kind": "Pod",
            "namespace": "default",
            "name": name,
            "uid": about["uid"],
        },
        "reason": "Evil",
        "message": evil,
        "type": "Warning",
    }
    made = cluster.request("POST", "/api/v1/namespaces/default/events", body=event)
    page = open_page(f"#/topology/pod/default/{name}")
    path = f"/api/v1/namespaces/default/pods/{name}"
    client = BlockingClient(cluster.paths.api_socket)
    try:
        expect(page.locator(".panel .events")).to_contain_text(evil)
        for tick in range(1000):
            body = {"metadata": {"labels": {"tick": str(tick)}, "annotations": {"evil": evil}}}
            client.request("PATCH", path, body=body, content_type=MERGE_PATCH)
        expect(page.locator(".panel dl")).to_contain_text("tick=999")
        expect(page.locator(".panel .yaml")).to_contain_text("onerror")
        page.goto(
            f"{page.url.partition('#')[0]}#/objects/events/default/{made['metadata']['name']}"
        )
        expect(page.locator(".side .yaml")).to_contain_text("onerror")
        assert page.locator("img[src=x], main script").count() == 0
        assert page.title() == f"netpod: {cluster.name}"
    finally:
        body = {"metadata": {"labels": {"tick": None}, "annotations": {"evil": None}}}
        client.request("PATCH", path, body=body, content_type=MERGE_PATCH)
        client.request("DELETE", f"/api/v1/namespaces/default/events/{made['metadata']['name']}")
        client.close()


def test_a_narrow_window_has_everything_below_each_other(open_page: Open) -> None:
    """Nothing is wider than the window."""
    page = open_page("#/packet", color_scheme="dark")
    page.set_viewport_size({"width": 420, "height": 800})
    expect(page.get_by_role("button", name="Send and follow")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 420


@pytest.mark.complains
def test_an_interruption_leaves_no_gap(open_page: Open, cluster: Cluster) -> None:
    """The control plane is killed; the page waits, comes back by itself, and shows what came meanwhile."""
    page = open_page()
    old = cluster.kill("controlplane")
    expect(page.locator("#connection")).not_to_have_text("live")
    cluster.replaced("controlplane", "", old)
    try:
        wait.until(lambda: cluster.cli("apply", "-f", "-", stdin=EMPTY).code == 0, "it serves")
        expect(page.locator("#connection")).to_have_text("live")
        made = page.get_by_role("button", name="Service default/nobody, ClusterIP")
        expect(made).to_be_visible()
    finally:
        cluster.cli("delete", "svc", "nobody")


def test_nobody_gets_in_without_the_link(cluster: Cluster) -> None:
    """No token, a made-up one, a name that another page made point here, another page's script: all refused."""
    link = cluster.ok("dashboard").stdout.strip()
    port = int(link.split(":")[2].partition("/")[0])
    bearer = {"Authorization": f"Bearer {link.rpartition('=')[2]}"}

    def ask(path: str, method: str = "GET", **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(
                method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
            )
            return connection.getresponse().status
        finally:
            connection.close()

    assert ask("/") == 401
    assert ask("/?token=made-up") == 401
    assert ask("/session", **bearer) == 200
    assert ask("/session", **bearer, Host="evil.example") == 403
    assert ask("/session", **bearer, Origin="http://evil.example") == 403
    assert ask("/api/v1/secrets", **bearer) == 403
    assert ask("/api/v1/namespaces/default/pods/x", "DELETE", **bearer) == 403
    assert ask("/static/..%2f..%2fserver.py", **bearer) == 404
    assert oct(os.stat(cluster.paths.run / "dashboard.json").st_mode & 0o777) == "0o600"
