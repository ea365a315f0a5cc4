"""What the client got (a value)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the client got: an HTTP answer, or why there was none (`error`).

    `cause` is a word of causes.py where the client's own kernel said why it would not send.
    """

    status: int = 0
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    error: str = ""
    cause: str = ""
