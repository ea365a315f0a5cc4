"""Label and field selectors."""

import pytest

from netpod.api import fieldselectors, selectors
from netpod.api.meta import LabelSelector, LabelSelectorRequirement
from netpod.errors import BadRequest

WEB = {"app": "web", "tier": "front", "n": "5", "empty": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier=front", True),
        ("app=db", False),
        ("app!=db", True),
        ("app!=web", False),
        ("missing!=x", True),
        ("missing=", False),
        ("empty=", True),
        ("app in (web,db)", True),
        ("app in (db)", False),
        ("app notin (db,x)", True),
        ("app notin (web)", False),
        ("missing notin (web)", True),
        ("missing in (web)", False),
        ("app", True),
        ("missing", False),
        ("!missing", True),
        ("! app", False),
        ("n>4", True),
        ("n<5", False),
        ("app>4", False),
        ("missing<4", False),
        ("empty in (,a)", True),
        ("app in (web),!missing,tier", True),
        ("in in (a)", False),
        ("example.com/x!=y,app", True),
    ],
)
def test_label_selectors_select_as_upstream(text: str, matches: bool) -> None:
    """A lacking key satisfies !=, notin and !, and nothing else."""
    assert selectors.parse_labels(text).matches(WEB) is matches


@pytest.mark.parametrize(
    "text",
    [
        *("a=b=c", "=a", "a in", "a in (b", "a in b)", "a b", ",", "a,", "a,,b"),
        *("a/b/c=d", "a=b!", "a>x", "a=-", "!", "a=(b)"),
    ],
)
def test_malformed_label_selectors_are_refused(text: str) -> None:
    """A selector that cannot be read never selects something by accident."""
    with pytest.raises(BadRequest, match=r"^(unable to parse requirement|found '.*', expected): "):
        selectors.parse_labels(text)


def test_label_query_writes_the_text_it_reads() -> None:
    """Scale's status.selector is text that any client can use again."""
    text = "!d,a=1,b!=2,c in (x,y),e"
    query = selectors.parse_labels(text)
    assert str(query) == "a=1,b!=2,c in (x,y),!d,e"
    assert selectors.parse_labels(str(query)) == query


def test_no_label_selector_selects_nothing_and_an_empty_one_everything() -> None:
    """Upstream's trap: nil and {} are opposites."""
    assert not selectors.from_label_selector(None).matches(WEB)
    assert selectors.from_label_selector(LabelSelector()).matches(WEB)
    assert selectors.from_label_selector(LabelSelector()).everything
    assert not selectors.from_labels({}).matches(WEB)
    assert selectors.from_labels({"app": "web"}).matches(WEB)


@pytest.mark.parametrize(
    ("key", "operator", "values", "matches"),
    [
        ("app", "In", ("web", "x"), True),
        ("app", "NotIn", ("web",), False),
        ("missing", "NotIn", ("web",), True),
        ("missing", "In", ("web",), False),
        ("app", "Exists", (), True),
        ("app", "DoesNotExist", (), False),
        ("missing", "DoesNotExist", (), True),
    ],
)
def test_match_expressions(key: str, operator: str, values: tuple[str, ...], matches: bool) -> None:
    """NotIn matches objects that lack the key."""
    requirement = LabelSelectorRequirement(key=key, operator=operator, values=values)
    selector = LabelSelector(match_labels={"tier": "front"}, match_expressions=(requirement,))
    assert selectors.from_label_selector(selector).matches(WEB) is matches


def test_unknown_operator_is_refused() -> None:
    """An operator nobody knows is an error, not a match."""
    bad = LabelSelector(match_expressions=(LabelSelectorRequirement(key="a", operator="Near"),))
    with pytest.raises(BadRequest, match="not a valid label selector operator"):
        selectors.from_label_selector(bad)


POD = {
    "metadata": {"name": "web-1", "namespace": "shop"},
    "spec": {"nodeName": "worker"},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("spec.nodeName=worker", True),
        ("spec.nodeName==worker,status.phase!=Failed,status.phase!=Succeeded", True),
        ("spec.nodeName=worker,status.phase!=Running", False),
        ("spec.nodeName=", False),
        ("status.podIP=", True),
        ("metadata.name=web-1", True),
        ("metadata.namespace!=shop", False),
        ("spec.hostNetwork=false", True),
        ("spec.nodeName.deeper=x", False),
    ],
)
def test_field_selectors_read_plain_objects(text: str, matches: bool) -> None:
    """An absent field is an empty string, an absent boolean false."""
    assert fieldselectors.parse_fields(text).matches(POD) is matches


def test_field_values_may_be_escaped() -> None:
    """A comma or an equals sign inside a value is written with a backslash."""
    query = fieldselectors.parse_fields(r"metadata.name=a\,b\=c\\d,spec.x=y")
    assert query.matches({"metadata": {"name": r"a,b=c\d"}, "spec": {"x": "y"}})
    assert query.exact("metadata.name") == r"a,b=c\d"
    assert query.exact("other") is None


@pytest.mark.parametrize("text", ["spec.nodeName", "a=b=c", "a=b\\", r"a=\b"])
def test_malformed_field_selectors_are_refused(text: str) -> None:
    """Upstream's words."""
    with pytest.raises(BadRequest, match=r"^invalid (field )?selector: "):
        fieldselectors.parse_fields(text)


def test_unsupported_fields_are_refused_when_the_kind_is_known() -> None:
    """Selecting by a field upstream cannot select by is an error, not an empty list."""
    assert fieldselectors.parse_fields("involvedObject.name=x,reason=y", "Event").requirements
    signer = fieldselectors.parse_fields("spec.signerName=a/b", "CertificateSigningRequest")
    assert signer.matches({"spec": {"signerName": "a/b"}})
    with pytest.raises(BadRequest, match=r"^field label not supported: spec\.foo$"):
        fieldselectors.parse_fields("spec.foo=x", "Pod")
    with pytest.raises(BadRequest, match="not a known field selector"):
        fieldselectors.parse_fields("spec.foo=x", "Lease")


def test_event_source_is_its_component() -> None:
    """`source=kubelet` compares the component of the event's source, else the one that reports."""
    event = {"source": {"component": "kubelet", "host": "worker"}, "reportingComponent": "x"}
    newer = {"source": {}, "reportingComponent": "kubelet"}
    assert fieldselectors.parse_fields("source=kubelet").matches(event)
    assert fieldselectors.parse_fields("source=kubelet").matches(newer)
    assert not fieldselectors.parse_fields("source=x").matches(event)
