"""Which store is meant, and what is refused."""

import pytest

from netpod.apiserver.storeconfig import StoreConfig
from netpod.errors import UsageError


def test_no_store_named_is_the_embedded_one() -> None:
    """Without --store there is no endpoint."""
    assert StoreConfig().endpoints() == ()


def test_members_are_named_with_or_without_their_port() -> None:
    """2379, etcd's own, is the default; an IPv6 address stands in brackets."""
    config = StoreConfig(url="etcd://one,two.example:12379,[::1]", ca="/a", cert="/b", key="/c")
    assert config.endpoints() == ("one:2379", "two.example:12379", "[::1]:2379")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": "http://one"}, "write etcd://HOST:2379"),
        ({"url": "etcd://"}, "'' is no HOST"),
        ({"url": "etcd://one,"}, "'' is no HOST"),
        ({"url": "etcd://one:70000"}, "'one:70000' is no HOST"),
        ({"url": "etcd://one/path"}, "'one/path' is no HOST"),
        ({"url": "etcd://one", "cert": "/a"}, "--store-cert without --store-key"),
        ({"url": "etcd://one", "ca": "a"}, "from / on"),
        ({"ca": "/a"}, "without --store"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, str], message: str) -> None:
    """The error names what was written and what is expected."""
    with pytest.raises(UsageError, match=message):
        StoreConfig(**fields).endpoints()
