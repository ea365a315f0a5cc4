"""Requests that lead beyond the API server: how they are read, and where they may lead."""

import pytest

from netpod import errors
from netpod.apiserver import connect, forwarding, routes
from netpod.apiserver.rewriting import Rewriter

POD = "/api/v1/namespaces/default/pods/web"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("web", ("", "web", "")),
        ("web:80", ("", "web", "80")),
        ("web:http", ("", "web", "http")),
        ("https:web:443", ("https", "web", "443")),
        ("http:web:", ("http", "web", "")),
        (":web:80", ("", "web", "80")),
    ],
)
def test_names_of_a_proxy_have_scheme_and_port(name: str, parts: tuple[str, str, str]) -> None:
    """`[SCHEME:]NAME[:PORT]`, each of them may be left out."""
    assert connect.split(name) == parts


@pytest.mark.parametrize("name", ["ftp:web:80", "a:b:c:d", ":80", "::"])
def test_other_names_are_refused(name: str) -> None:
    """Unknown schemes, too many parts, no name."""
    with pytest.raises(errors.BadRequest, match="invalid service request"):
        connect.split(name)


@pytest.mark.parametrize("verb", ["exec", "attach", "portforward"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_stream_is_created_whatever_the_method(verb: str, method: str) -> None:
    """A WebSocket begins with GET, but whoever may only read must not run programs."""
    assert routes.parse(method, f"{POD}/{verb}", {}).verb == "create"


def test_the_path_behind_proxy_is_somebody_elses() -> None:
    """Whatever it looks like: the pod is the first one named, and no query makes it a watch."""
    route = routes.parse("GET", f"{POD}/proxy/api//v1/pods/other/exec/", {"watch": "true"})
    assert (route.verb, route.name, route.subresource) == ("get", "web", "proxy")
    assert routes.parse("DELETE", f"{POD}/proxy", {}).verb == "delete"


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", f"{POD}/log"), ("PUT", f"{POD}/exec"), ("DELETE", f"{POD}/attach")],
)
def test_methods_that_mean_nothing_are_refused(method: str, path: str) -> None:
    """405, not 404: the resource is there."""
    with pytest.raises(errors.MethodNotAllowed):
        routes.parse(method, path, {})


def test_a_proxy_leads_nowhere_inside() -> None:
    """Users choose the addresses of Endpoints; the control plane's own loopback is not theirs."""
    for address in ("127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "x"):
        with pytest.raises(errors.BadRequest, match="address not allowed"):
            connect.outside(address, 80, "")
    assert connect.outside("10.244.1.2", 443, "https").url == "https://10.244.1.2:443"


def test_links_of_a_page_lead_through_the_proxy() -> None:
    """Absolute paths get the prefix, once; everything else stays, wherever the page is cut."""
    page = (
        b'<!DOCTYPE html><html><a class="x" href="/a?b=1&amp;c">t</a><img src=/i.png>'
        b"<a href='rel'>&lt;&#228;\xc3\xa4</a><a href=\"http://other/x\">o</a>"
        b'<a href="/p/proxy/done">d</a><script>s = \'<a href="/in/script">\'</script><!-- <a href="/c"> -->'
    )
    wanted = page.replace(b'"/a?b', b'"/p/proxy/a?b').replace(b"/i.png", b'"/p/proxy/i.png"')
    wanted = wanted.replace(b"'rel'", b'"rel"')
    target = connect.outside("10.244.1.2", 80, "")
    for size in (1, 7, len(page)):
        rewriter = Rewriter(lambda url: forwarding._led(url, target, "/p/proxy/"))
        pieces = [page[n : n + size] for n in range(0, len(page), size)]
        assert b"".join(map(rewriter.take, pieces)) + rewriter.take(b"", last=True) == wanted
