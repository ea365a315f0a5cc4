"""The page's colours: what is written can be read, in light and in dark.

Source: WCAG 2.1, 1.4.3 and its definitions of relative luminance and contrast ratio.
"""

import re

import pytest

from netpod.dashboard.server import STATIC

STYLE = (STATIC / "style.css").read_text()
READABLE = 4.5
PAIRS = (
    *((text, back) for text in ("ink", "soft", "bad") for back in ("sheet", "back")),
    *((name, f"{name}-soft") for name in ("good", "wait", "bad", "blue")),
    *((text, "violet-soft") for text in ("ink", "soft")),
    *(("ink", f"{name}-soft") for name in ("good", "wait", "bad")),
    ("on-packet", "packet"),
    ("on-packet", "bad"),
    ("ink", "mark"),
)


def _colours(text: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", text))


LIGHT_TEXT, DARK_TEXT = STYLE.split("prefers-color-scheme: dark", 1)
LIGHT = _colours(LIGHT_TEXT)
DARK = {**LIGHT, **_colours(DARK_TEXT)}


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("text", "back"), PAIRS, ids=lambda it: str(it))
def test_text_stands_out_from_what_is_behind_it(scheme: str, text: str, back: str) -> None:
    """At least 4.5 to 1, for every colour of words on every colour they stand on."""
    colours = LIGHT if scheme == "light" else DARK
    high, low = sorted((_luminance(colours[text]), _luminance(colours[back])), reverse=True)
    assert (high + 0.05) / (low + 0.05) >= READABLE, (colours[text], colours[back])
