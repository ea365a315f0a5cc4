"""A session at a prompt, kept as text: commands, and what they should say.

    $ get pods -l app=web        a command; what follows it, up to the next one, is what it prints
    $! get pods nosuch           the same, and it fails; its exit code may follow as $3! for exit code 3
    $~ get pods                  the same, tried again until it prints that, for half a minute
    % $K get --raw / | grep x    a line of shell, in which $K is the program
    @1.32                        from here on what kubectl of at least this version prints instead
    @1.32!                       the same, and it fails
    @1.32 -                      from that version on the command is not typed
    @1.0 -                       the command is typed only from the versions on that follow
    # words                      nothing

In what is printed `…` stands for anything within a line, and a line of nothing else for any number of lines. How much
white space there is does not matter. Errors follow output.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

_ANY = "…"
_SINCE = re.compile(r"@(\d+)\.(\d+)(!?)( -)?")
_PROMPT = re.compile(r"(?:\$(\d*)([!~]?)|(%)) (.*)")


@dataclass
class Step:
    """One command: its words, or a line of shell; what it should print, and how it ends."""

    line: int
    text: str
    argv: list[str]
    code: int = 0
    shell: bool = False
    patient: bool = False
    expected: list[str] = field(default_factory=list)
    later: "dict[tuple[int, int], Step | None]" = field(default_factory=dict)

    def of(self, version: tuple[int, int]) -> "Step | None":
        """What a version of kubectl makes of it; None: nothing."""
        since = max((it for it in self.later if it <= version), default=None)
        return self if since is None else self.later[since]


def read(text: str) -> Iterator[Step]:
    """Yield the steps of a session.

    Raises:
        ValueError: output stands before the first command.
    """
    step: Step | None = None
    told: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        match = _PROMPT.fullmatch(line)
        if match:
            if step is not None:
                yield step
            code, mark, shell, words = match.groups()
            step = Step(
                line=number,
                text=words,
                argv=[] if shell else shlex.split(words),
                code=int(code) if code else int(mark == "!"),
                shell=bool(shell),
                patient=mark == "~",
            )
            told = step.expected
        elif (since := _SINCE.fullmatch(line)) and step is not None:
            major, minor, fails, none = since.groups()
            told = []
            step.later[int(major), int(minor)] = (
                None
                if none
                else replace(step, code=(step.code or 1) if fails else 0, expected=told, later={})
            )
        elif line.startswith("# "):
            continue
        elif step is None:
            if line.strip():
                raise ValueError(f"line {number}: output before the first command")
        else:
            told.append(line)
    if step is not None:
        yield step


def matches(expected: list[str], printed: str) -> bool:
    """Whether a program printed what it should."""
    wanted = [line for line in map(_plain, expected) if line]
    found = [line for line in map(_plain, printed.splitlines()) if line]
    pattern = "".join(r"(?:[^\n]*\n)*?" if line == _ANY else _line(line) for line in wanted)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in found)) is not None


def _plain(line: str) -> str:
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", line).split())


def _line(line: str) -> str:
    return r"[^\n]*?".join(map(re.escape, line.split(_ANY))) + r"\n"
