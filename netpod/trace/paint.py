"""Terminal colours, or none; and nothing else that could steer a terminal."""

from netpod.trace.model import Verdict

_RESET, _BOLD, _DIM = "\x1b[0m", "\x1b[1m", "\x1b[2m"
_CHANGED, _PLACE, _RULE, _STOP = "\x1b[1;33m", "\x1b[36m", "\x1b[34m", "\x1b[1;31m"
_COLOURS = {
    Verdict.DELIVERED: "\x1b[1;32m",
    Verdict.REFUSED: _STOP,
    Verdict.DROPPED: _STOP,
    Verdict.INCONCLUSIVE: "\x1b[1;33m",
    Verdict.NOT_REACHED: _DIM,
}
_ALL = {_RESET, _BOLD, _DIM, _CHANGED, _PLACE, _RULE, _STOP, *_COLOURS.values()}


class Paint:
    """Wraps words in the colours of what they are."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def bold(self, text: str) -> str:
        """A heading."""
        return self._wrap(_BOLD, text)

    def dim(self, text: str) -> str:
        """What may be passed over."""
        return self._wrap(_DIM, text)

    def changed(self, text: str) -> str:
        """What NAT changed."""
        return self._wrap(_CHANGED, text)

    def place(self, text: str) -> str:
        """A namespace."""
        return self._wrap(_PLACE, text)

    def rule(self, text: str, verdict: str) -> str:
        """A chain; one that stopped the packet is red."""
        return self._wrap(_STOP if verdict == "drop" else _RULE, text)

    def verdict(self, verdict: Verdict) -> str:
        """Green, red or yellow."""
        return self._wrap(_COLOURS[verdict], verdict)

    def _wrap(self, code: str, text: str) -> str:
        return f"{code}{text}{_RESET}" if self._colour else str(text)


def printable(line: str) -> str:
    """Keep what a server answered from steering the terminal: our own colour codes are the only escapes."""
    if "\x1b" not in line and line.isprintable():
        return line
    kept = line
    for code in _ALL:
        kept = kept.replace(code, "")
    if kept.replace("\n", "").replace("\t", "").isprintable():
        return line
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in kept)
