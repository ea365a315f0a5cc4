"""What a name may look like. Each function returns upstream's complaints about one value, or nothing.

Source: k8s.io/apimachinery pkg/util/validation/validation.go.
"""

import re

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_RFC1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_WILDCARD = rf"\*\.{SUBDOMAIN}"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_ENV = "[-._a-zA-Z][-._a-zA-Z0-9]*"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_HTTP_HEADER = "[-A-Za-z0-9]+"

LABEL_VALUE_PATTERN = rf"({_QUALIFIED})?"

_LABEL_RE = re.compile(_LABEL, re.ASCII)
_SUBDOMAIN_RE = re.compile(SUBDOMAIN, re.ASCII)
_RFC1035_RE = re.compile(_RFC1035, re.ASCII)
_WILDCARD_RE = re.compile(_WILDCARD, re.ASCII)
_QUALIFIED_RE = re.compile(_QUALIFIED, re.ASCII)
_VALUE_RE = re.compile(LABEL_VALUE_PATTERN, re.ASCII)
_ENV_RE = re.compile(_ENV, re.ASCII)
_CONFIG_KEY_RE = re.compile(_CONFIG_KEY, re.ASCII)
_HTTP_HEADER_RE = re.compile(_HTTP_HEADER, re.ASCII)
_PORT_CHARS_RE = re.compile("[-a-z0-9]+", re.ASCII)

_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
    "start and end with an alphanumeric character"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_WILDCARD_TEXT = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must "
    "consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
)
_RFC1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character"
)
_QUALIFIED_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character"
)
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_ENV_TEXT = (
    "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or "
    "'.', and must not start with a digit"
)
_CONFIG_KEY_TEXT = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
_HTTP_HEADER_TEXT = "a valid HTTP header must consist of alphanumeric characters or '-'"


def max_length(length: int) -> str:
    """Upstream's MaxLenError."""
    return f"must be no more than {length} characters"


def mismatch(text: str, pattern: str, *examples: str) -> str:
    """Upstream's RegexError: the rule, examples and the regular expression."""
    if not examples:
        return f"{text} (regex used for validation is '{pattern}')"
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {shown}regex used for validation is '{pattern}')"


def between(low: int, high: int) -> str:
    """Upstream's InclusiveRangeError."""
    return f"must be between {low} and {high}, inclusive"


def dns1123_label(value: str) -> list[str]:
    """Complaints about a DNS label, e.g. a namespace or container name."""
    problems = [max_length(63)] if len(value) > 63 else []
    if not _LABEL_RE.fullmatch(value):
        if _SUBDOMAIN_RE.fullmatch(value):
            problems.append("must not contain dots")
        else:
            problems.append(mismatch(_LABEL_TEXT, _LABEL, "my-name", "123-abc"))
    return problems


def dns1123_subdomain(value: str) -> list[str]:
    """Complaints about a DNS name, e.g. most objects' names."""
    problems = [max_length(253)] if len(value) > 253 else []
    if not _SUBDOMAIN_RE.fullmatch(value):
        problems.append(mismatch(_SUBDOMAIN_TEXT, SUBDOMAIN, "example.com"))
    return problems


def dns1035_label(value: str) -> list[str]:
    """Complaints about a DNS label that must start with a letter: a Service's name."""
    problems = [max_length(63)] if len(value) > 63 else []
    if not _RFC1035_RE.fullmatch(value):
        problems.append(mismatch(_RFC1035_TEXT, _RFC1035, "my-name", "abc-123"))
    return problems


def wildcard_subdomain(value: str) -> list[str]:
    """Complaints about `*.suffix`."""
    problems = [max_length(253)] if len(value) > 253 else []
    if not _WILDCARD_RE.fullmatch(value):
        problems.append(mismatch(_WILDCARD_TEXT, _WILDCARD, "*.example.com"))
    return problems


def qualified_name(value: str) -> list[str]:
    """Complaints about `[prefix/]name`, e.g. a label key."""
    problems = []
    prefix, slash, name = value.rpartition("/")
    if slash and "/" in prefix:
        return [
            "a qualified name "
            + mismatch(_QUALIFIED_TEXT, _QUALIFIED, "MyName", "my.name", "123-abc")
            + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif slash:
        problems += [f"prefix part {problem}" for problem in dns1123_subdomain(prefix)]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > 63:
        problems.append("name part " + max_length(63))
    if not _QUALIFIED_RE.fullmatch(name):
        text = mismatch(_QUALIFIED_TEXT, _QUALIFIED, "MyName", "my.name", "123-abc")
        problems.append(f"name part {text}")
    return problems


def label_value(value: str) -> list[str]:
    """Complaints about a label's value."""
    problems = [max_length(63)] if len(value) > 63 else []
    if not _VALUE_RE.fullmatch(value):
        problems.append(mismatch(_VALUE_TEXT, LABEL_VALUE_PATTERN, "MyValue", "my_value", "12345"))
    return problems


def path_segment(value: str) -> list[str]:
    """Complaints about a name that is to be one element of a path, e.g. a role's."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{part}'" for part in ("/", "%") if part in value]


def port_number(value: int) -> list[str]:
    """Complaints about a port number."""
    return [] if 1 <= value <= 65535 else [between(1, 65535)]


def port_name(value: str) -> list[str]:
    """Complaints about an IANA service name, as a named port must be."""
    problems = ["must be no more than 15 characters"] if len(value) > 15 else []
    if not _PORT_CHARS_RE.fullmatch(value):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= char <= "z" for char in value):
        problems.append("must contain at least one letter (a-z)")
    if "--" in value:
        problems.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        problems.append("must not begin or end with a hyphen")
    return problems


def env_name(value: str) -> list[str]:
    """Complaints about the name of an environment variable."""
    problems = []
    if not _ENV_RE.fullmatch(value):
        problems.append(mismatch(_ENV_TEXT, _ENV, "my.env-name", "MY_ENV.NAME", "MyEnvName1"))
    return problems + _dots(value)


def config_key(value: str) -> list[str]:
    """Complaints about a key of a ConfigMap or Secret."""
    problems = [max_length(253)] if len(value) > 253 else []
    if not _CONFIG_KEY_RE.fullmatch(value):
        problems.append(mismatch(_CONFIG_KEY_TEXT, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    return problems + _dots(value)


def http_header(value: str) -> list[str]:
    """Complaints about the name of a header."""
    if _HTTP_HEADER_RE.fullmatch(value):
        return []
    return [mismatch(_HTTP_HEADER_TEXT, _HTTP_HEADER, "X-Header-Name")]


def _dots(value: str) -> list[str]:
    if value in (".", ".."):
        return [f"must not be '{value}'"]
    return ["must not start with '..'"] if value.startswith("..") else []
