"""Frontends of Gateways -> HAProxy's configuration (pure).

The listener is picked by host, then the first match that fits takes the request: matches stand in the order of
precedence, as `http-request` lines. What became of it is `txn.match`, a key of routes.map, whose value reads like an
Ingress's rule, so the access log and the pages of errors are the same. Values of users are written byte for byte.
"""

from collections.abc import Iterator, Mapping, Sequence

from netpod.ingress import sections
from netpod.ingress.gateway.model import Frontend, Kind, Match, Outcome, Redirect, Site, Value
from netpod.ingress.model import Target
from netpod.ingress.quoting import formatted, word

ROUTES = "routes.map"
NOBODY = "-"
"""The target of what HAProxy answers itself: redirects, and 500."""
WELL_KNOWN = {"http": 80, "https": 443}
_DICE = 1_000_000
_CONDITIONS = 6
"""Written out in one line; more of them get names, as HAProxy reads at most 64 words of one."""
_EVERY_HOST = "*"


def lines(frontend: Frontend, ids: Mapping[Target, str]) -> Iterator[tuple[str, str]]:
    """Yield routes.map's entries: `TARGET|SERVICE|ROUTE|PATHTYPE|HOST|PATH` by match, or by outcome of several."""
    for site in frontend.sites:
        for match in site.matches:
            tail = f"{match.route}|{match.kind}|{match.hostname or _EVERY_HOST}|{match.path}"
            if match.redirect is not None or not _weighed(match):
                yield match.id, f"{NOBODY}|{NOBODY}|{tail}"
            for key, outcome in _outcomes(match):
                target = outcome.target
                head = f"{ids[target]}|{target}" if target is not None else f"{NOBODY}|{NOBODY}"
                yield key, f"{head}|{tail}"


def reasons(frontend: Frontend) -> Iterator[tuple[str, str]]:
    """Yield why 500 is answered, by match or outcome."""
    for site in frontend.sites:
        for match in site.matches:
            if match.redirect is None and not _weighed(match):
                yield match.id, "all of the rule's backends have weight 0"
            for key, outcome in _outcomes(match):
                if outcome.target is None:
                    yield key, outcome.why


def certificates_text(frontend: Frontend) -> str:
    """Return the list of certificates; the first without a name is for whoever asks for none of the others."""
    return "".join(f"{file} {host}".rstrip() + "\n" for host, file in frontend.certificates)


def certificates_file(frontend: Frontend) -> str:
    """Name of that list."""
    return f"{frontend.name}.list"


def text(frontend: Frontend, binds: Sequence[str], head: str, tail: str) -> str:
    """Return a frontend's section.

    Args:
        frontend: What to serve.
        binds: Arguments of `bind`, one of each socket.
        head: Lines that every frontend begins with.
        tail: Lines that send a request with `txn.rule` to its backend.
    """
    if frontend.https:
        strict = "" if any(not host for host, _ in frontend.certificates) else " strict-sni"
        tls = f" ssl crt-list {certificates_file(frontend)}{strict} alpn h2,http/1.1"
        binds = [f"{bind}{tls}" for bind in binds]
    parts = [
        f"frontend {frontend.name}\n" + "".join(f"    bind {it}\n" for it in binds) + head,
        f"    http-request set-header X-Forwarded-Port {frontend.port}\n",
        "    http-request set-var(txn.kind) str(HTTPRoute)\n",
        "    http-request set-var(txn.slashed) path,concat(/)\n",
        f"    http-request set-var(txn.dice) rand({_DICE})\n",
    ]
    for number, site in enumerate(frontend.sites):
        parts.append(f"    http-request set-var(txn.site) str({number}){_of_host(site.hostname)}\n")
    for number, site in enumerate(frontend.sites):
        for match in site.matches:
            parts += _match(number, site, match)
    who = f"Gateway {frontend.gateway}"
    parts.append(
        f"    http-request set-var(txn.rule) var(txn.match),map_str({ROUTES})\n"
        + _page(
            404,
            f"404: no listener of {who} serves host %[var(txn.host)]",
            "unless { var(txn.site) -m found }",
        )
        + _page(
            404,
            f"404: no HTTPRoute of {who} matches host %[var(txn.host)], path %[var(txn.path)]",
            "unless { var(txn.rule) -m found }",
        )
    )
    for site in frontend.sites:
        for match in site.matches:
            if match.redirect is not None:
                parts += _redirect(frontend, match, match.redirect)
    said = (
        "500: HTTPRoute %[var(txn.rule),field(3,|)] matched, but %[var(txn.match),map_str(why.map)]"
    )
    condition = f"if {{ var(txn.rule),field(1,|) -m str -- {NOBODY} }}"
    parts += [_page(500, said, condition), tail]
    return "".join(parts)


def _page(status: int, text: str, condition: str) -> str:
    return sections.page(status, text, condition)


def _of_host(hostname: str) -> str:
    if not hostname:
        return ""
    if hostname.startswith("*"):
        return f" if {{ var(txn.host) -m end -- {word(hostname[1:])} }}"
    return f" if {{ var(txn.host) -m str -- {word(hostname)} }}"


def _match(number: int, site: Site, match: Match) -> Iterator[str]:
    first = ["!{ var(txn.match) -m found }", f"{{ var(txn.site) -m str {number} }}"]
    conditions = []
    if match.hostname != site.hostname:
        conditions.append(_of_host(match.hostname).removeprefix(" if "))
    conditions += _path(match)
    if match.method:
        conditions.append(f"{{ method -m str -- {match.method} }}")
    conditions += [_value(f"req.fhdr({each.name})", each) for each in match.headers]
    conditions += [_value(f"url_param({each.name}),url_dec(1)", each) for each in match.params]
    if len(conditions) > _CONDITIONS:
        names = [f"{match.id}.{place}" for place in range(len(conditions))]
        for name, condition in zip(names, conditions, strict=True):
            yield f"    acl {name} {condition.removeprefix('{ ').removesuffix(' }')}\n"
        conditions = names
    words = " ".join((*first, *conditions))
    yield f"    http-request set-var(txn.match) str({match.id}) if {words}\n"
    outcomes = _outcomes(match)
    if len(outcomes) < 2:
        return
    total = sum(outcome.weight for _, outcome in outcomes)
    below = 0
    for key, outcome in outcomes:
        below += outcome.weight
        yield (
            f"    http-request set-var(txn.match) str({key}) if {{ var(txn.match) -m str {match.id} }} "
            f"{{ var(txn.dice),mul({total}),div({_DICE}) lt {below} }}\n"
        )


def _path(match: Match) -> Iterator[str]:
    if match.kind is Kind.EXACT:
        yield f"{{ var(txn.path) -m str -- {word(match.path)} }}"
    elif match.kind is Kind.REGEX:
        yield f"{{ var(txn.path) -m reg -- {word(f'^(?:{match.path})$')} }}"
    elif match.path.rstrip("/"):
        yield f"{{ var(txn.slashed) -m beg -- {word(match.path.rstrip('/') + '/')} }}"


def _value(fetch: str, value: Value) -> str:
    if value.kind is Kind.REGEX:
        return f"{{ {fetch} -m reg -- {word(f'^(?:{value.value})$')} }}"
    if value.value in ("{", "}"):
        # A brace alone would end the condition.
        return f"{{ {fetch} -m reg -- {word(f'^[{value.value}]$')} }}"
    return f"{{ {fetch} -m str -- {word(value.value)} }}"


def _weighed(match: Match) -> bool:
    return bool(_outcomes(match))


def _outcomes(match: Match) -> list[tuple[str, Outcome]]:
    """What can become of a match, by key: the match's own id when there is no choice."""
    weighed = [outcome for outcome in match.outcomes if outcome.weight]
    if len(weighed) == 1:
        return [(match.id, weighed[0])]
    return [(f"{match.id}/{number}", outcome) for number, outcome in enumerate(weighed)]


def _redirect(frontend: Frontend, match: Match, sent: Redirect) -> Iterator[str]:
    condition = f"if {{ var(txn.match) -m str {match.id} }}"
    own = "https" if frontend.https else "http"
    scheme = sent.scheme or own
    # A scheme alone means its own port; else clients come back to where they are.
    port = sent.port or (WELL_KNOWN[scheme] if sent.scheme else frontend.port)
    place = sent.host or "%[var(txn.host)]"
    if port != WELL_KNOWN[scheme]:
        place += f":{port}"
    yield from sections.header_lines("http-after-response", sent.response_headers, condition)
    if sent.full_path:
        yield f"    http-request set-path {formatted(sent.full_path)} {condition}\n"
    if sent.prefix:
        before, after = sent.prefix
        yield sections.rewrite(before, after, condition)
    yield f"    http-request redirect location {scheme}://{place}%[pathq] code {sent.status} {condition}\n"
