"""Who may do what: a table of rules by group; what no rule allows is forbidden.

Source: the default ClusterRoles of Kubernetes, reduced to netpod's groups.
"""

from dataclasses import dataclass

from netpod import errors
from netpod.apiserver.authentication import AUTHENTICATED, MASTERS, User
from netpod.apiserver.routes import Route

READ = frozenset({"get", "list", "watch"})
WRITE = frozenset({"create", "update", "patch", "delete"})
ALL = frozenset({"*"})


@dataclass(frozen=True, slots=True)
class Rule:
    """Members of `group` may use `verbs` on `resources` ("*", `pods`, `pods/status`) except `but`."""

    group: str
    verbs: frozenset[str]
    resources: frozenset[str] = ALL
    but: frozenset[str] = frozenset()


RULES = (
    Rule(MASTERS, ALL),
    Rule("system:nodes", READ),
    Rule("system:nodes", WRITE, frozenset({"nodes", "nodes/status", "events", "leases"})),
    Rule("system:nodes", frozenset({"create", "delete"}), frozenset({"pods"})),
    Rule("system:nodes", frozenset({"update", "patch"}), frozenset({"pods/status"})),
    Rule("viewers", READ, but=frozenset({"secrets"})),
    Rule("system:serviceaccounts:kube-system", READ),
    Rule(
        "system:serviceaccounts:kube-system",
        WRITE,
        frozenset({"ingresses/status", "events", "leases"}),
    ),
)

OPEN_PATHS = ("/healthz", "/livez", "/readyz", "/version")
"""Answered without credentials; also every path below the first three."""

_OPEN_FOLDERS = tuple(f"{path}/" for path in OPEN_PATHS[:3])


def is_open(path: str) -> bool:
    """Whether a path needs no credentials."""
    return path in OPEN_PATHS or path.startswith(_OPEN_FOLDERS)


def allowed(user: User, verb: str, resource: str, subresource: str = "") -> bool:
    """Whether any rule lets the user do it."""
    full = f"{resource}/{subresource}" if subresource else resource
    for rule in RULES:
        if (
            rule.group in user.groups
            and (verb in rule.verbs or rule.verbs is ALL)
            and ((rule.resources is ALL and resource not in rule.but) or full in rule.resources)
        ):
            return True
    return False


def authorize(user: User, route: Route) -> None:
    """Let a request pass.

    Raises:
        Forbidden: no rule allows it.
    """
    resource = route.resource
    if allowed(user, route.verb, resource.plural, route.subresource):
        return
    full = f"{resource.plural}/{route.subresource}" if route.subresource else resource.plural
    subject = f'{resource.qualified} "{route.name}"' if route.name else resource.qualified
    where = f'in the namespace "{route.namespace}"' if route.namespace else "at the cluster scope"
    raise errors.Forbidden(
        f'{subject} is forbidden: User "{user.name}" cannot {route.verb} resource "{full}" '
        f'in API group "{resource.group}" {where}',
        details={"name": route.name, "group": resource.group, "kind": resource.plural},
    )


def authorize_path(user: User, path: str) -> None:
    """Let a discovery request pass: everybody who is somebody may look.

    Raises:
        Forbidden: the user is nobody.
    """
    if AUTHENTICATED not in user.groups:
        raise errors.Forbidden(f'forbidden: User "{user.name}" cannot get path "{path}"')
