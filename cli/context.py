"""What most commands start with: the cluster's paths, its API, and the objects the arguments name."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from netpod.api import registry
from netpod.api.registry import Resource
from netpod.client.blocking import BlockingClient
from netpod.errors import ApiError, NotFound, Unavailable, UsageError
from netpod.paths import Paths, is_cluster_name

F = TypeVar("F", bound=Callable[..., Any])


def paths() -> Paths:
    """Names and places of the cluster that --cluster chose.

    Raises:
        UsageError: no cluster can have that name.
    """
    name = str(click.get_current_context().find_root().obj)
    if not is_cluster_name(name):
        from netpod.cluster import config

        config.check_name(name)
    return Paths(name)


def api() -> BlockingClient:
    """Client of the cluster's API server.

    Raises:
        UsageError: no such cluster is up, or this user may not reach it.
    """
    place = paths()
    try:
        up = place.api_socket.exists()
    except PermissionError:
        raise UsageError(
            f"cannot reach cluster {place.cluster}: run as root (sudo netpod ...)"
        ) from None
    if not up and not place.state.exists():
        from netpod.cluster.config import not_up

        raise not_up(place.cluster)
    if not up:
        raise Unavailable(
            f"cannot reach cluster {place.cluster}: its API server is not running; "
            "start it with: sudo netpod start"
        )
    return BlockingClient(place.api_socket)


_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def _namespace(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    """An empty one, as from an unset variable, is the default and not all of them."""
    if value and not _NAMESPACE.fullmatch(value):
        raise UsageError(f"invalid namespace {value!r}: lower case letters, digits and '-'")
    return value or "default"


def family_options(command: F) -> F:
    """Add -4 and -6, of which the last one counts, as with curl."""
    for flag, family in (("-6", "IPv6"), ("-4", "IPv4")):
        text = f"Connect to the target's {family} address."
        command = click.option(flag, "family", flag_value=family, default=None, help=text)(command)
    return command


def namespace_options(command: F) -> F:
    """Add -n and nothing else."""
    return click.option(
        "-n",
        "--namespace",
        default="default",
        metavar="NAMESPACE",
        callback=_namespace,
        help="Namespace of the objects.",
    )(command)


@dataclass(frozen=True, slots=True)
class Target:
    """A resource, and a name or "" for all of them."""

    resource: Resource
    name: str = ""

    def path(self, namespace: str, subresource: str = "") -> str:
        """URL path of the object or collection."""
        return self.resource.path(namespace, self.name, subresource)

    @property
    def qualified(self) -> str:
        """`pod/x` or `deployment.apps/x`, as kubectl prints it."""
        group = f".{self.resource.group}" if self.resource.group else ""
        return f"{self.resource.singular}{group}/{self.name}"


def targets(arguments: Sequence[str]) -> list[Target]:
    """Read kubectl's forms: `pods`, `pod,svc`, `all`, `pod x y`, `pod/x svc/y`.

    Raises:
        UsageError: the forms are mixed.
        NotFound: no such resource.
    """
    if not arguments:
        raise UsageError(
            "name a resource, e.g. pods, svc/example-service or deployment example-app"
        )
    if any("/" in argument for argument in arguments):
        found = []
        for argument in arguments:
            kind, slash, name = argument.partition("/")
            if not slash:
                raise UsageError(
                    f"there is no need to name a resource type as a separate argument: {argument!r} beside "
                    "arguments in resource/name form"
                )
            found.append(Target(registry.lookup(kind), _name(name)))
        return found
    kinds: list[Resource] = []
    for word in arguments[0].split(","):
        if word == "all":
            kinds += [r for r in registry.RESOURCES if "all" in r.categories]
        else:
            kinds.append(registry.lookup(word))
    names = [_name(name) for name in arguments[1:]]
    if not names:
        return [Target(kind) for kind in kinds]
    return [Target(kind, name) for kind in kinds for name in names]


def _name(name: str) -> str:
    """Return a name that can be a piece of a path; which names a kind may have is the API server's to say."""
    if not name or name in (".", "..") or re.search(r"[/%?#\s\x00-\x1f]", name):
        raise UsageError(
            f"invalid resource name {name!r}: not empty, no '.' or '..', no '/', '%', '?', '#' or white space"
        )
    return name


def read_manifests(files: Sequence[str]) -> list[dict[str, Any]]:
    """Read objects from files, directories (*.yaml, *.yml, *.json) and "-" for standard input.

    Raises:
        UsageError: a file cannot be read.
        BadRequest: a file does not parse; the message names it.
    """
    from netpod.api import codec
    from netpod.errors import BadRequest

    objects: list[dict[str, Any]] = []
    for file in files:
        for name, text in _texts(file):
            try:
                found = codec.load_manifests(text)
            except BadRequest as error:
                raise BadRequest(f"{name}: {error}") from error
            for manifest in found:
                _check_manifest(name, manifest)
            objects += found
    if not objects:
        raise UsageError("no objects passed")
    return objects


def _check_manifest(file: str, manifest: dict[str, Any]) -> None:
    from netpod.errors import BadRequest

    for field in ("apiVersion", "kind"):
        if not isinstance(manifest.get(field), str) or not manifest[field]:
            raise BadRequest(f"{file}: cannot decode object: {field} must be set")
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        raise BadRequest(f"{file}: {manifest['kind']}: metadata.name must be set")
    try:
        registry.by_kind(manifest["apiVersion"], manifest["kind"])
    except NotFound as error:
        raise NotFound(f"{file}: {error}") from error


def _texts(file: str) -> list[tuple[str, bytes]]:
    if file == "-":
        return [("standard input", sys.stdin.buffer.read())]
    path = Path(file)
    try:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix in (".yaml", ".yml", ".json"))
            return [(str(p), p.read_bytes()) for p in inside]
        return [(file, path.read_bytes())]
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error


def manifest_target(manifest: dict[str, Any]) -> Target:
    """The target that a manifest describes."""
    resource = registry.by_kind(manifest["apiVersion"], manifest["kind"])
    return Target(resource, str(manifest["metadata"].get("name", "")))


def manifest_targets(files: Sequence[str], namespace: str) -> list[tuple[Target, str]]:
    """What files describe, and where: a manifest's own namespace goes before the one given."""
    return [
        (manifest_target(manifest), str(manifest["metadata"].get("namespace") or namespace))
        for manifest in read_manifests(files)
    ]


class Failures:
    """Errors of some objects among several: each is said in its turn and the others still get theirs.

    Attributes:
        code: The exit code for all of them together, 0 while there was none.
    """

    def __init__(self) -> None:
        self.code = 0

    @contextmanager
    def said(self, doing: str = "") -> Iterator[None]:
        """Say an error of the block, after `doing`, and go on; without an API server nothing goes on."""
        try:
            yield
        except Unavailable:
            raise
        except ApiError as error:
            # Validation answers with a line per cause; an error here is one line.
            message = " ".join(str(error).split())
            click.echo(f"error: {doing}: {message}" if doing else f"error: {message}", err=True)
            self.code = error.exit_code
