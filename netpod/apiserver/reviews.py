"""Questions about access and identity: asked by creating an object that is never stored.

Source: k8s.io/api authorization/v1, authentication/v1 types.go; pkg/registry/authorization, authentication.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from netpod import errors
from netpod.api import codec
from netpod.api.meta import Json
from netpod.api.rbac import PolicyRule
from netpod.apiserver import negotiation, status
from netpod.apiserver.authentication import AUTHENTICATED, MASTERS, User
from netpod.apiserver.authorization import Attributes
from netpod.apiserver.calls import Call, Reply


class Access(Protocol):
    """What the answers come from."""

    async def allowed(self, user: User, wanted: Attributes) -> bool:
        """Whether the user may do it."""
        ...

    def rules(self, user: User, namespace: str) -> tuple[PolicyRule, ...]:
        """All rules of a user that hold in a namespace."""
        ...

    def reason(self, user: User, wanted: Attributes) -> str:
        """What allows it, "" if nothing has a name."""
        ...

    async def whose(self, token: str, audiences: tuple[str, ...]) -> User | None:
        """The user of a bearer token, None when nobody issued it."""
        ...


async def answer(access: Access, call: Call) -> Reply:
    """POST of a review.

    Raises:
        BadRequest: the body is another kind, or asks nothing.
        NotAcceptable: only a table is wanted; a question has no columns.
    """
    if negotiation.wanted(call.accept).kind == "Table":
        raise errors.NotAcceptable(
            "the server was unable to respond with a content type that the client supports"
        )
    resource = call.route.resource
    data = negotiation.body(call.body, call.content_type)
    if data.get("kind", resource.kind) != resource.kind:
        raise errors.BadRequest(f"the body is a {data['kind']}, not a {resource.kind}")
    spec = data.get("spec") or {}
    if not isinstance(spec, dict):
        raise errors.BadRequest("spec: expected an object")
    found = await _ANSWERS[resource.kind](access, call, spec)
    body = {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": data.get("metadata") or {},
        **({"spec": spec} if spec else {}),
        "status": found,
    }
    return Reply(status=201, body=negotiation.dump(body))


async def _self_access(access: Access, call: Call, spec: dict[str, Json]) -> dict[str, Json]:
    return await _judge(access, call.user, _wanted(spec))


async def _access(access: Access, call: Call, spec: dict[str, Json]) -> dict[str, Json]:
    name, groups = spec.get("user") or "", spec.get("groups") or spec.get("group") or []
    if not name and not groups:
        raise _invalid("user", '"": at least one of user or group must be specified')
    user = User(name=str(name), groups=frozenset(map(str, groups)))
    wanted = _wanted(spec)
    if call.route.namespace and wanted.namespace != call.route.namespace:
        told = f'"{wanted.namespace}": must match metadata.namespace'
        raise _invalid("resourceAttributes.namespace", told)
    return await _judge(access, user, wanted)


async def _judge(access: Access, user: User, wanted: Attributes) -> dict[str, Json]:
    allowed = await access.allowed(user, wanted)
    reason = access.reason(user, wanted) if allowed else ""
    return {"allowed": allowed, **({"reason": reason} if reason else {})}


def _invalid(field: str, told: str) -> errors.Invalid:
    fault = errors.FieldError(
        field=f"spec.{field}", reason="FieldValueInvalid", message=f"Invalid value: {told}"
    )
    return status.invalid("", "authorization.k8s.io", "", [fault])


def _wanted(spec: Mapping[str, Json]) -> Attributes:
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if isinstance(other, dict) and not resource:
        return Attributes(verb=str(other.get("verb", "")), path=str(other.get("path", "")))
    if not isinstance(resource, dict):
        told = (
            '"null": exactly one of nonResourceAttributes or resourceAttributes must be specified'
        )
        raise _invalid("resourceAttributes", told)
    if isinstance(other, dict):
        shown = f'Path:"{other.get("path", "")}", Verb:"{other.get("verb", "")}"'
        told = "cannot be specified in combination with resourceAttributes"
        raise _invalid(
            "nonResourceAttributes", f"authorization.NonResourceAttributes{{{shown}}}: {told}"
        )

    def text(name: str) -> str:
        return str(resource.get(name) or "")

    return Attributes(
        verb=text("verb"),
        group=text("group"),
        resource=text("resource"),
        subresource=text("subresource"),
        namespace=text("namespace"),
        name=text("name"),
    )


async def _rules(access: Access, call: Call, spec: dict[str, Json]) -> dict[str, Json]:
    namespace = str(spec.get("namespace") or "")
    if not namespace:
        raise errors.BadRequest("no namespace on request")
    rules = access.rules(call.user, namespace)
    if MASTERS in call.user.groups and not rules:
        everything = PolicyRule(verbs=("*",), api_groups=("*",), resources=("*",))
        rules = (everything, PolicyRule(verbs=("*",), non_resource_urls=("*",)))
    told = [codec.encode(rule) for rule in rules]
    return {
        "resourceRules": [rule for rule in told if "nonResourceURLs" not in rule],
        "nonResourceRules": [rule for rule in told if "nonResourceURLs" in rule],
        "incomplete": False,
    }


def _told(user: User) -> dict[str, Json]:
    told: dict[str, Json] = {"username": user.name, "groups": user.listed}
    if user.uid:
        told["uid"] = user.uid
    if user.extra:
        told["extra"] = {key: list(values) for key, values in user.extra}
    return told


async def _whoami(access: Access, call: Call, spec: dict[str, Json]) -> dict[str, Json]:
    return {"userInfo": _told(call.user)}


async def _token(access: Access, call: Call, spec: dict[str, Json]) -> dict[str, Json]:
    if not spec.get("token"):
        raise errors.BadRequest("token is required for TokenReview in authentication")
    audiences = tuple(map(str, spec.get("audiences") or ()))
    user = await access.whose(str(spec.get("token") or ""), audiences)
    if user is None:
        return {"user": {}, "error": "invalid bearer token"}
    user = User(
        name=user.name, groups=user.groups | {AUTHENTICATED}, uid=user.uid, extra=user.extra
    )
    status: dict[str, Json] = {"authenticated": True, "user": _told(user)}
    if audiences:
        status["audiences"] = list(audiences)
    return status


_ANSWERS: Mapping[str, Callable[[Access, Call, dict[str, Json]], Awaitable[dict[str, Json]]]] = {
    "SelfSubjectAccessReview": _self_access,
    "SelfSubjectRulesReview": _rules,
    "SubjectAccessReview": _access,
    "LocalSubjectAccessReview": _access,
    "SelfSubjectReview": _whoami,
    "TokenReview": _token,
}
