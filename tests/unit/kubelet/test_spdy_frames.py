"""SPDY/3.1 as bytes."""

import zlib
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpod.kubelet import spdy_headers
from netpod.kubelet.spdy_frames import Control, Data, Frame, Kind, Parser, Writer
from netpod.kubelet.spdy_headers import Deflater, Inflater

# What kubectl 1.20 sends first for `exec -i POD -- cat`: the error stream, opened and ended.
_SYN = bytes.fromhex("80030001")
_NAMES = st.text(st.characters(codec="ascii", categories=("Ll",)), min_size=1, max_size=12)
_HEADERS = st.dictionaries(_NAMES, st.text(st.characters(codec="latin-1"), max_size=30), max_size=5)
_STREAMS = st.integers(1, (1 << 31) - 1)
_FRAMES = st.one_of(
    st.builds(Data, _STREAMS, st.binary(max_size=300), st.booleans()),
    st.builds(
        Control,
        st.sampled_from([Kind.SYN_STREAM, Kind.SYN_REPLY, Kind.HEADERS]),
        _STREAMS,
        st.booleans(),
        _HEADERS,
    ),
    st.builds(
        Control,
        st.sampled_from([Kind.RST_STREAM, Kind.GOAWAY, Kind.WINDOW_UPDATE]),
        _STREAMS,
        value=st.integers(0, (1 << 32) - 1),
    ),
    st.builds(Control, st.just(Kind.PING), st.integers(0, (1 << 32) - 1)),
)


def test_the_dictionary_is_the_protocols() -> None:
    """Both sides deflate with the same 1,423 bytes; zlib names them by their Adler-32, e3c6a7c2 for SPDY/3."""
    assert len(spdy_headers.DICTIONARY) == 1423
    assert zlib.adler32(spdy_headers.DICTIONARY) == 0xE3C6A7C2


@pytest.mark.parametrize(
    ("frame", "golden"),
    [
        (Data(1, b"abc"), "00000001 00000003 616263"),
        (Data(3, b"", fin=True), "00000003 01000000"),
        (Control(Kind.PING, 7), "80030006 00000004 00000007"),
        (Control(Kind.RST_STREAM, 5, value=3), "80030003 00000008 00000005 00000003"),
        (Control(Kind.GOAWAY, 9), "80030007 00000008 00000009 00000000"),
        (Control(Kind.WINDOW_UPDATE, 1, value=4096), "80030009 00000008 00000001 00001000"),
    ],
)
def test_frames_have_the_protocols_bytes(frame: Frame, golden: str) -> None:
    """Version 3, type, flags and length as in the draft, all big endian."""
    data = bytes.fromhex(golden)
    assert Writer().pack(frame) == data
    assert Parser().feed(data) == [frame]


def test_a_stream_is_opened_as_upstreams_library_does() -> None:
    """SYN_STREAM: stream, associated stream, priority and slot, then the deflated block, which names the dictionary."""
    packed = Writer().pack(Control(Kind.SYN_STREAM, 1, headers={"streamtype": "error"}))
    assert packed[:4] == _SYN
    assert packed[8:18] == bytes.fromhex("00000001 00000000 0000")
    assert packed[18:24] == bytes.fromhex("78bb e3c6a7c2")


@settings(max_examples=60, deadline=None)
@given(st.lists(_FRAMES, max_size=8), st.data())
def test_frames_survive_any_cut(frames: list[Frame], data: st.DataObject) -> None:
    """TCP cuts where it likes: whatever the pieces, control frames come whole and data in order."""
    writer, parser = Writer(), Parser()
    stream = b"".join(writer.pack(frame) for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    seen = [frame for piece in pieces for frame in parser.feed(piece)]
    assert _joined(seen) == _joined(frames)


def _joined(frames: list[Frame]) -> list[Frame]:
    """Data frames of one stream that follow each other without an end between them are one."""
    found: list[Frame] = []
    for frame in frames:
        last = found[-1] if found else None
        if (
            isinstance(frame, Data)
            and isinstance(last, Data)
            and last.stream == frame.stream
            and not last.fin
        ):
            found[-1] = Data(frame.stream, last.data + frame.data, frame.fin)
        else:
            found.append(frame)
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(_HEADERS, max_size=6))
def test_header_blocks_survive(blocks: list[Mapping[str, str]]) -> None:
    """Blocks share one zlib stream, so each depends on all before."""
    deflater, inflater = Deflater(), Inflater()
    for block in blocks:
        assert inflater.unpack(deflater.pack(block)) == block


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waited_for(data: bytes) -> None:
    """No bytes a client may send raise anything but the one error that ends its connection."""
    parser = Parser()
    try:
        parser.feed(data)
    except ValueError:
        return


def test_a_header_block_cannot_be_a_bomb() -> None:
    """A few kilobytes inflate to megabytes; more than the limit is not even inflated."""
    deflater = Deflater()
    with pytest.raises(ValueError, match="longer than"):
        Inflater().unpack(deflater.pack({"x": "a" * 1_000_000}))
    with pytest.raises(ValueError, match="not a SPDY/3 frame"):
        Parser().feed(bytes.fromhex("80030001 00ffffff"))
