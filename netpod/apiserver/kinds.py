"""What a body says it is, against what it should be.

Source: k8s.io/apiserver pkg/endpoints/handlers/rest.go transformDecodeError; k8s.io/apimachinery pkg/runtime/error.go.
"""

from netpod import errors
from netpod.api import registry
from netpod.api.meta import Json

SCHEME = "pkg/api/legacyscheme/scheme.go:30"
"""Where upstream's kinds are registered, which its error says."""


def check(resource: registry.Resource, api_version: Json, kind: Json) -> None:
    """Compare apiVersion and kind of a body with those of the resource.

    Raises:
        BadRequest: they are others.
    """
    if not isinstance(api_version, str) or not isinstance(kind, str):
        raise errors.BadRequest(
            f"the object provided is unrecognized (must be of type {resource.kind}): couldn't get version/kind; "
            "apiVersion and kind must be strings"
        )
    if (api_version, kind) == (resource.api_version, resource.kind):
        return
    version = api_version.rpartition("/")[2]
    internal = resource.group.partition(".")[0] or "core"
    cause = (
        f"converting ({version}.{kind}) to ({internal}.{resource.kind}): unknown conversion"
        if _is_known(api_version, kind)
        else f'no kind "{kind}" is registered for version "{api_version}" in scheme "{SCHEME}"'
    )
    raise errors.BadRequest(_cannot(kind, version, resource.kind, cause))


def _is_known(api_version: str, kind: str) -> bool:
    return any(
        r.api_version == api_version and kind in (r.kind, r.list_kind) for r in registry.SERVED
    )


def check_name(name: str, wanted: str) -> None:
    """Compare an object's name with the URL's.

    Raises:
        BadRequest: it has none, or another.
    """
    if not name:
        raise errors.BadRequest(
            f"the name of the object ({wanted} based on URL) was undeterminable: name must be provided"
        )
    if name != wanted:
        raise errors.BadRequest(
            f"the name of the object ({name}) does not match the name on the URL ({wanted})"
        )


def undecodable(resource: registry.Resource, error: errors.BadRequest) -> errors.BadRequest:
    """What is said of a body with a value of the wrong type."""
    cause = str(error).removeprefix(f"cannot decode {resource.kind}: ")
    return errors.BadRequest(_cannot(resource.kind, resource.version, resource.kind, cause))


def _cannot(kind: str, version: str, wanted: str, cause: str) -> str:
    return f'{kind} in version "{version}" cannot be handled as a {wanted}: {cause}'
