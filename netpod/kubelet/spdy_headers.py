"""SPDY/3 header blocks: name-value pairs, deflated with a dictionary both sides know.

    block = count:32 (length:32 name length:32 value)*      one zlib stream per direction and connection

Source: SPDY protocol, draft 3.1, section 2.6.10.
"""

import struct
import zlib
from collections.abc import Mapping

_WORDS = [
    *(
        "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age "
        "allow authorization cache-control connection content-base content-encoding content-language content-length "
        "content-location content-md5 content-range content-type date etag expect expires from host if-match "
        "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
        "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
        "user-agent vary via warning www-authenticate method get status"
    ).split(),
    *("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"),
]
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(struct.pack(">I", len(word)) + word.encode() for word in _WORDS) + _TAIL.encode()
)
LIMIT = 1 << 16
"""Longest block in bytes, inflated."""
_U32 = struct.Struct(">I")


class Deflater:
    """Header blocks to be sent, in the order in which they are sent."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(zdict=DICTIONARY)

    def pack(self, headers: Mapping[str, str]) -> bytes:
        """Return the block of some headers."""
        plain = [_U32.pack(len(headers))]
        for name, value in headers.items():
            for text in (name.lower().encode("latin-1"), value.encode("latin-1")):
                plain += [_U32.pack(len(text)), text]
        return self._zlib.compress(b"".join(plain)) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class Inflater:
    """Header blocks received; each must be given, also those nobody wants, for the next to be readable."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def unpack(self, block: bytes) -> dict[str, str]:
        """Return the headers of a block, names in lower case; of a repeated name the values joined by NUL.

        Raises:
            ValueError: it is no header block, or longer than LIMIT.
        """
        try:
            plain = self._zlib.decompress(block, LIMIT + 1)
        except zlib.error as error:
            raise ValueError(f"cannot inflate header block: {error}") from error
        if len(plain) > LIMIT:
            raise ValueError(f"header block is longer than {LIMIT} bytes")
        try:
            return _read(plain)
        except struct.error as error:
            raise ValueError("header block is cut short") from error


def _read(plain: bytes) -> dict[str, str]:
    (count,) = _U32.unpack_from(plain)
    place = _U32.size
    texts: list[str] = []
    for _ in range(2 * count):
        (length,) = _U32.unpack_from(plain, place)
        place += _U32.size
        if place + length > len(plain):
            raise ValueError("header block is cut short")
        texts.append(plain[place : place + length].decode("latin-1"))
        place += length
    return {name.lower(): value for name, value in zip(texts[::2], texts[1::2], strict=True)}
