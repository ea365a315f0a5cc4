"""Messages of the channel protocols, terminal sizes, and what the error stream says."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpod.kubelet import channels, spdy_session
from netpod.kubelet.channels import Framing
from netpod.kubelet.session import Options, Outcome, Sizes


@pytest.mark.parametrize(
    ("protocol", "channel", "data", "golden"),
    [
        ("v4.channel.k8s.io", channels.STDIN, b"ls\n", b"\x00ls\n"),
        ("v4.channel.k8s.io", channels.STDOUT, b"", b"\x01"),
        ("v5.channel.k8s.io", channels.CLOSE, b"\x00", b"\xff\x00"),
        ("v4.base64.channel.k8s.io", channels.STDERR, b"no\n", b"2bm8K"),
        ("base64.channel.k8s.io", channels.RESIZE, b"", b"4"),
    ],
)
def test_messages_begin_with_their_channel(
    protocol: str, channel: int, data: bytes, golden: bytes
) -> None:
    """One byte before binary, one digit before base64."""
    framing = channels.PROTOCOLS[protocol]
    assert framing.pack(channel, data) == golden
    assert framing.unpack(golden) == (channel, data)


@given(st.integers(0, 4), st.binary(max_size=200), st.booleans())
def test_messages_survive(channel: int, data: bytes, text: bool) -> None:
    """What is packed is what is unpacked."""
    framing = Framing(4, text=text)
    assert framing.unpack(framing.pack(channel, data)) == (channel, data)


@given(st.binary(max_size=50), st.booleans())
def test_messages_of_a_broken_client_are_refused(message: bytes, text: bool) -> None:
    """A client's bytes raise nothing but the one error that ends its connection."""
    try:
        Framing(4, text=text).unpack(message)
    except ValueError:
        return


@given(st.lists(st.tuples(st.integers(1, 65535), st.integers(1, 65535)), max_size=4), st.data())
def test_sizes_survive_any_cut(sizes: list[tuple[int, int]], data: st.DataObject) -> None:
    """client-go writes a newline after each size, the Python client does not, and both may be cut anywhere."""
    end = data.draw(st.sampled_from(["\n", ""]))
    text = "".join(f'{{"Width":{w},"Height":{h}}}{end}' for w, h in sizes).encode()
    at = data.draw(st.integers(0, len(text)))
    reader = Sizes()
    assert [*reader.feed(text[:at]), *reader.feed(text[at:])] == sizes


@pytest.mark.parametrize("text", [b"[]", b'{"Width":-1,"Height":2}', b"nonsense", b'{"Width":1e9}'])
def test_no_size_is_no_size(text: bytes) -> None:
    """What cannot be a terminal's size is dropped."""
    assert list(Sizes().feed(text)) == []


def test_an_exit_code_is_a_cause_of_the_status() -> None:
    """kubectl takes its own exit code from the cause named ExitCode."""
    status = orjson.loads(Outcome(3).report(4))
    assert status["status"] == "Failure"
    assert status["reason"] == "NonZeroExitCode"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    assert orjson.loads(Outcome().report(5)) == {"metadata": {}, "status": "Success"}


def test_old_versions_get_text() -> None:
    """Before version 4 the error stream is empty when all is well, and a sentence when not."""
    assert Outcome().report(3) == b""
    assert Outcome(2).report(1).endswith(b"exit status 2")
    assert b"no such" in Outcome(error="no such thing").report(2)


def test_a_terminal_has_no_stderr() -> None:
    """With a terminal both outputs are one, and since version 3 there is a stream for its size."""
    options = Options(stdin=True, stdout=True, stderr=True, tty=True)
    assert spdy_session.expected(options, 4) == {"error", "stdin", "stdout", "resize"}
    assert spdy_session.expected(options, 2) == {"error", "stdin", "stdout"}


def test_the_clients_first_known_protocol_is_spoken() -> None:
    """Clients offer what they prefer first."""
    offered = ["v9.channel.k8s.io", "v3.channel.k8s.io", "v4.channel.k8s.io"]
    assert spdy_session.choose(offered, spdy_session.PROTOCOLS) == "v3.channel.k8s.io"
    assert spdy_session.choose(["v9.channel.k8s.io"], spdy_session.PROTOCOLS) is None
