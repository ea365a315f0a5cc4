"""Names of images: what is one, and which registry, repository and tag it means (pure).

    name  [HOST[:PORT]/]PATH[/PATH...][:TAG][@ALGORITHM:HEX]

Source: distribution/reference reference.go, normalize.go.
"""

import re

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])"
_REFERENCE = re.compile(
    rf"(?:{_HOST}(?::[0-9]+)?/)?{_PART}(?:/{_PART})*"
    r"(?::[\w][\w.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)


def problem(reference: str) -> str:
    """Say why a name is none of an image, in the kubelet's words; "" when it is."""
    if _REFERENCE.fullmatch(reference):
        return ""
    cause = "invalid reference format"
    if _REFERENCE.fullmatch(reference.lower()):
        cause = "invalid reference format: repository name must be lowercase"
    return (
        f'Failed to apply default image tag "{reference}": '
        f'couldn\'t parse image name "{reference}": {cause}'
    )


def normalize(reference: str) -> str:
    """Return a reference with its registry, repository and tag as Docker means them.

    Source: distribution/reference normalize.go: nginx is docker.io/library/nginx:latest.
    """
    name, at, digest = reference.partition("@")
    head, slash, rest = name.partition("/")
    if not slash or not ("." in head or ":" in head or head == "localhost"):
        head, rest = "docker.io", name if slash else f"library/{name}"
    if at:
        return f"{head}/{rest.partition(':')[0]}@{digest}"
    return f"{head}/{rest}" if ":" in rest else f"{head}/{rest}:latest"
