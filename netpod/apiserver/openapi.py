"""The smallest OpenAPI documents that let every kubectl work; schemas of the kinds come later.

kubectl before 1.27 reads /openapi/v2 as protobuf (gnostic's openapi_v2.Document) and gives up when it cannot; a kind
that is missing there is simply not checked on its side, and netpod checks it on ours.

Source: github.com/google/gnostic openapiv2/OpenAPIv2.proto; protocol buffers encoding.
"""

import orjson

SWAGGER = "2.0"
TITLE = "Kubernetes"
VERSION = "v1.30.0-netpod"
# Newer Go refuses the "@" of the type old kubectl asks for, in old kubectl too, so it is answered with the newer one.
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
V2_ACCEPTED = ("application/com.github.proto-openapi.spec.v2", "com.github.openapi.spec.v2")


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited protobuf field; `value` shorter than 128 bytes."""
    assert len(value) < 128, "one byte holds the length"
    return bytes([number << 3 | 2, len(value)]) + value


def v2(accept: str) -> tuple[bytes, str]:
    """/openapi/v2: body and content type, protobuf for clients that ask for it."""
    if any(name in accept for name in V2_ACCEPTED):
        # Document: 1 swagger, 2 info (1 title, 2 version), 8 paths
        info = _field(1, TITLE.encode()) + _field(2, VERSION.encode())
        body = _field(1, SWAGGER.encode()) + _field(2, info) + _field(8, b"")
        return body, V2_PROTOBUF
    data = {"swagger": SWAGGER, "info": {"title": TITLE, "version": VERSION}, "paths": {}}
    return orjson.dumps(data), "application/json"


def v3() -> bytes:
    """/openapi/v3: an index without entries."""
    return b'{"paths":{}}'
