"""Rules for HTTPRoutes.

Source: the schema and `+kubebuilder:validation:XValidation` rules in sigs.k8s.io/gateway-api apis/v1.
"""

import re
from collections import Counter
from collections.abc import Sequence

from netpod.api import durations, validate_names
from netpod.api.gateway import (
    HTTPBackendRef,
    HTTPHeaderFilter,
    HTTPPathMatch,
    HTTPPathModifier,
    HTTPRoute,
    HTTPRouteFilter,
    HTTPRouteMatch,
    HTTPRouteRule,
    HTTPRouteTimeouts,
    HTTPValueMatch,
    ParentReference,
)
from netpod.api.validate_errors import Errors, index
from netpod.api.validate_gateway import hostname, kind

MAX_RULES, MAX_HOSTNAMES, MAX_PARENTS = 16, 16, 32
PATH_TYPES = ("Exact", "PathPrefix", "RegularExpression")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
REDIRECTS = (301, 302, 303, 307, 308)
FILTERS = {
    "CORS": "cors",
    "ExtensionRef": "extension_ref",
    "RequestHeaderModifier": "request_header_modifier",
    "RequestMirror": "request_mirror",
    "RequestRedirect": "request_redirect",
    "ResponseHeaderModifier": "response_header_modifier",
    "URLRewrite": "url_rewrite",
}
"""Type of a filter -> the field that says more."""
_FIELDS = {
    attribute: attribute.split("_")[0] + "".join(w.capitalize() for w in attribute.split("_")[1:])
    for attribute in FILTERS.values()
}
_PATH = re.compile(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+")
_STRAIGHT = "when type one of ['Exact', 'PathPrefix']"
_ONCE = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite")


def http_route(errors: Errors, obj: HTTPRoute) -> None:
    """Check an HTTPRoute."""
    spec = obj.spec
    for name, items, most in (
        ("parentRefs", spec.parent_refs, MAX_PARENTS),
        ("hostnames", spec.hostnames, MAX_HOSTNAMES),
        ("rules", spec.rules, MAX_RULES),
    ):
        if len(items) > most:
            errors.too_many(f"spec.{name}", len(items), most)
    for position, ref in enumerate(spec.parent_refs):
        if not ref.name:
            errors.required(f"{index('spec.parentRefs', position)}.name")
    _parents(errors, spec.parent_refs)
    for position, host in enumerate(spec.hostnames):
        hostname(errors, index("spec.hostnames", position), host)
    for position, rule in enumerate(spec.rules):
        _rule(errors, rule, index("spec.rules", position))


def _parents(errors: Errors, refs: Sequence[ParentReference]) -> None:
    """Of several references to one parent each names another section of it."""
    sections = Counter(
        (r.kind, r.namespace, r.name) for r in refs if not (r.section_name or r.port)
    )
    every = Counter((r.kind, r.namespace, r.name) for r in refs)
    if any(every[parent] > 1 for parent in sections):
        detail = (
            "sectionName or port must be specified when parentRefs includes 2 or more references to "
            "the same parent"
        )
        errors.invalid("spec.parentRefs", "array", detail)
    whole = Counter((r.kind, r.namespace, r.name, r.section_name, r.port) for r in refs)
    if any(count > 1 for parent, count in whole.items() if parent[3] or parent[4]):
        detail = (
            "sectionName or port must be unique when parentRefs includes 2 or more references to the "
            "same parent"
        )
        errors.invalid("spec.parentRefs", "array", detail)


def _rule(errors: Errors, rule: HTTPRouteRule, path: str) -> None:
    for position, match in enumerate(rule.matches):
        _match(errors, match, index(f"{path}.matches", position))
    _filters(errors, rule.filters, f"{path}.filters")
    for position, ref in enumerate(rule.backend_refs):
        _backend(errors, ref, index(f"{path}.backendRefs", position))
    if rule.timeouts is not None:
        _timeouts(errors, rule.timeouts, f"{path}.timeouts")
    redirects = [f.request_redirect for f in rule.filters if f.request_redirect is not None]
    if redirects and rule.backend_refs:
        detail = "RequestRedirect filter must not be used together with backendRefs"
        errors.invalid(path, "object", detail)
    filters = [*rule.filters, *(f for ref in rule.backend_refs for f in ref.filters)]
    for word, modified in (
        ("RequestRedirect", [f.request_redirect for f in filters]),
        ("URLRewrite", [f.url_rewrite for f in filters]),
    ):
        replaced = any(
            m is not None and m.path is not None and m.path.replace_prefix_match is not None
            for m in modified
        )
        kinds = [m.path.type for m in rule.matches if m.path is not None]
        if replaced and kinds != ["PathPrefix"]:
            detail = (
                f"When using {word} filter with path.replacePrefixMatch, exactly one PathPrefix match "
                "must be specified"
            )
            errors.invalid(path, "object", detail)


def _match(errors: Errors, match: HTTPRouteMatch, path: str) -> None:
    if match.path is not None:
        _path(errors, match.path, f"{path}.path")
    if match.method and match.method not in METHODS:
        errors.refuse(f"{path}.method", match.method, METHODS)
    for name, items in (("headers", match.headers), ("queryParams", match.query_params)):
        for position, item in enumerate(items):
            _value(errors, item, index(f"{path}.{name}", position))
        if len(items) > 16:
            errors.too_many(f"{path}.{name}", len(items), 16)


def _path(errors: Errors, match: HTTPPathMatch, path: str) -> None:
    errors.supported(f"{path}.type", match.type or "PathPrefix", PATH_TYPES)
    value = match.value
    if len(value) > 1024:
        errors.too_long(f"{path}.value", 1024)
    if match.type not in ("Exact", "PathPrefix"):
        return
    said = []
    if not value.startswith("/"):
        said.append(f"value must be an absolute path and start with '/' {_STRAIGHT}")
    for part in ("//", "/./", "/../", "%2f", "%2F", "#"):
        if part in value:
            said.append(f"must not contain '{part}' {_STRAIGHT}")
    for end in ("/..", "/."):
        if value.endswith(end):
            said.append(f"must not end with '{end}' {_STRAIGHT}")
    if not _PATH.fullmatch(value):
        said.append(
            f"must only contain valid characters (matching ^{_PATH.pattern}$) for types ['Exact', 'PathPrefix']"
        )
    errors.each(path, "object", said)


def _value(errors: Errors, item: HTTPValueMatch, path: str) -> None:
    errors.supported(f"{path}.type", item.type or "Exact", ("Exact", "RegularExpression"))
    _name(errors, item.name, f"{path}.name")
    if not item.value:
        errors.invalid(
            f"{path}.value", item.value, f"{path}.value in body should be at least 1 chars long"
        )
    if len(item.value) > 4096:
        errors.too_long(f"{path}.value", 4096)


def _name(errors: Errors, name: str, path: str) -> None:
    if not name:
        errors.required(path)
    elif not _NAME.fullmatch(name) or len(name) > 256:
        errors.invalid(path, name, f"{path} in body should match '^{_NAME.pattern}$'")


def _filters(errors: Errors, filters: Sequence[HTTPRouteFilter], path: str) -> None:
    for position, item in enumerate(filters):
        at = index(path, position)
        if item.type not in FILTERS:
            errors.supported(f"{at}.type", item.type, FILTERS)
            continue
        for type_, attribute in FILTERS.items():
            given = getattr(item, attribute) is not None
            name = _FIELDS[attribute]
            if given and type_ != item.type:
                detail = f"filter.{name} must be nil if the filter.type is not {type_}"
                errors.invalid(at, "object", detail)
            elif not given and type_ == item.type:
                detail = f"filter.{name} must be specified for {type_} filter.type"
                errors.invalid(at, "object", detail)
        for modifier, name in (
            (item.request_header_modifier, "requestHeaderModifier"),
            (item.response_header_modifier, "responseHeaderModifier"),
        ):
            if modifier is not None:
                _modifier(errors, modifier, f"{at}.{name}")
        if item.request_redirect is not None:
            _redirect(errors, item, f"{at}.requestRedirect")
        if item.url_rewrite is not None:
            rewrite = item.url_rewrite
            _precise(errors, rewrite.hostname, f"{at}.urlRewrite.hostname")
            _path_modifier(errors, rewrite.path, f"{at}.urlRewrite.path")
    counts = Counter(item.type for item in filters)
    if counts["RequestRedirect"] and counts["URLRewrite"]:
        detail = "May specify either httpRouteFilterRequestRedirect or httpRouteFilterRequestRewrite, but not both"
        errors.invalid(path, "array", detail)
    for type_ in _ONCE:
        if counts[type_] > 1:
            errors.invalid(path, "array", f"{type_} filter cannot be repeated")


def _modifier(errors: Errors, modifier: HTTPHeaderFilter, path: str) -> None:
    for name, headers in (("set", modifier.set), ("add", modifier.add)):
        for position, header in enumerate(headers):
            at = index(f"{path}.{name}", position)
            _name(errors, header.name, f"{at}.name")
            if any(ord(c) < 32 and c != "\t" for c in header.value):
                errors.invalid(f"{at}.value", header.value, "must not hold control characters")
    for position, name in enumerate(modifier.remove):
        _name(errors, name, index(f"{path}.remove", position))


def _redirect(errors: Errors, item: HTTPRouteFilter, path: str) -> None:
    redirect = item.request_redirect
    if redirect is None:
        return
    if redirect.scheme is not None:
        errors.supported(f"{path}.scheme", redirect.scheme, ("http", "https"))
    _precise(errors, redirect.hostname, f"{path}.hostname")
    if redirect.port is not None:
        errors.each(f"{path}.port", redirect.port, validate_names.port_number(redirect.port))
    if redirect.status_code is not None and redirect.status_code not in REDIRECTS:
        errors.refuse(f"{path}.statusCode", str(redirect.status_code), map(str, REDIRECTS))
    _path_modifier(errors, redirect.path, f"{path}.path")


def _precise(errors: Errors, name: str | None, path: str) -> None:
    if name is not None:
        errors.each(path, name, validate_names.dns1123_subdomain(name))


def _path_modifier(errors: Errors, modifier: HTTPPathModifier | None, path: str) -> None:
    if modifier is None:
        return
    errors.supported(f"{path}.type", modifier.type, ("ReplaceFullPath", "ReplacePrefixMatch"))
    for type_, name, value in (
        ("ReplaceFullPath", "replaceFullPath", modifier.replace_full_path),
        ("ReplacePrefixMatch", "replacePrefixMatch", modifier.replace_prefix_match),
    ):
        if modifier.type == type_ and value is None:
            detail = f"{name} must be specified when type is set to '{type_}'"
            errors.invalid(path, "object", detail)
        if modifier.type != type_ and value is not None:
            detail = f"type must be '{type_}' when {name} is set"
            errors.invalid(path, "object", detail)
        if value is not None and len(value) > 1024:
            errors.too_long(f"{path}.{name}", 1024)


def _backend(errors: Errors, ref: HTTPBackendRef, path: str) -> None:
    if not ref.name:
        errors.required(f"{path}.name")
    if ref.kind:
        kind(errors, f"{path}.kind", ref.kind)
    if not ref.group and ref.kind == "Service" and not ref.port:
        errors.invalid(path, "object", "Must have port for Service reference")
    if ref.port:
        errors.each(f"{path}.port", ref.port, validate_names.port_number(ref.port))
    if ref.weight is not None and not 0 <= ref.weight <= 1_000_000:
        detail = "should be greater than or equal to 0 and less than or equal to 1000000"
        errors.invalid(f"{path}.weight", ref.weight, f"{path}.weight in body {detail}")
    _filters(errors, ref.filters, f"{path}.filters")


def _timeouts(errors: Errors, timeouts: HTTPRouteTimeouts, path: str) -> None:
    found = {}
    for name, text in (
        ("request", timeouts.request),
        ("backendRequest", timeouts.backend_request),
    ):
        if text is None:
            continue
        found[name] = durations.milliseconds(text)
        if found[name] is None:
            detail = f"{path}.{name} in body should match '{durations.PATTERN}'"
            errors.invalid(f"{path}.{name}", text, detail)
    whole, part = found.get("request"), found.get("backendRequest")
    if whole and part and part > whole:
        detail = "backendRequest timeout cannot be longer than request timeout"
        errors.invalid(path, "object", detail)
