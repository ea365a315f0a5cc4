"""Quantities: the numbers they stand for and the text the server answers."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpod.api import quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", Fraction(0)),
        ("1", Fraction(1)),
        ("500m", Fraction(1, 2)),
        ("64Mi", Fraction(64 * 1024**2)),
        ("1e3", Fraction(1000)),
        ("1E3", Fraction(1000)),
        ("1E", Fraction(10**18)),
        ("2.5Gi", Fraction(5 * 1024**3, 2)),
        ("-1k", Fraction(-1000)),
        ("+.5", Fraction(1, 2)),
        ("5.", Fraction(5)),
        ("1e-2", Fraction(1, 100)),
        ("1u", Fraction(1, 10**6)),
        ("0.1n", Fraction(1, 10**9)),
        ("-0.1n", Fraction(-1, 10**9)),
        ("100E", Fraction(2**63 - 1)),
        ("1e999999999", Fraction(2**63 - 1)),
        (4, Fraction(4)),
        (0.25, Fraction(1, 4)),
    ],
)
def test_parse_is_exact(text: str | float, number: Fraction) -> None:
    """A quantity stands for one exact number, rounded up to billionths and capped at 2^63-1."""
    assert quantity.parse(text) == number


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", quantity.WRONG_FORMAT),
        ("abc", quantity.WRONG_FORMAT),
        ("1.2.3", quantity.WRONG_FORMAT),
        ("1 Mi", quantity.WRONG_FORMAT),
        ("1Zi", quantity.WRONG_FORMAT),
        ("1mm", quantity.WRONG_SUFFIX),
        ("1MB", quantity.WRONG_FORMAT),
        ("--1", quantity.WRONG_NUMBER),
    ],
)
def test_what_is_no_quantity_is_refused_in_upstream_words(text: str, message: str) -> None:
    """Upstream's message says which part is wrong."""
    with pytest.raises(ValueError, match=r"quantit|suffix|numeric") as error:
        quantity.parse(text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1000", "1k"),
        ("2048Ki", "2Mi"),
        ("1.5Gi", "1536Mi"),
        ("1023Ki", "1023Ki"),
        ("0.5Ki", "512"),
        ("1.5Ki", "1536"),
        ("100Mi", "100Mi"),
        ("0Mi", "0"),
        ("1e3", "1e3"),
        ("1e4", "10e3"),
        ("1e-3", "1e-3"),
        ("12e6", "12e6"),
        ("0.1Mi", "104857600m"),
        (64, "64"),
        (0.1, "100m"),
    ],
)
def test_canonical_text_is_upstreams(text: str | float, canonical: str) -> None:
    """The server answers the largest suffix that needs no fraction, in the style it was written."""
    assert quantity.canonical(text) == canonical


def test_rounding_is_always_up() -> None:
    """Whole units and thousandths never claim less than was asked."""
    assert quantity.milli("0.1m") == 1
    assert quantity.value("1.1") == 2
    assert quantity.value("1Ki") == 1024


@given(st.integers(-(2**62), 2**62), st.sampled_from(list(quantity.Format)))
def test_formatting_round_trips(number: int, style: quantity.Format) -> None:
    """Whatever the style, the text means the same number."""
    assert quantity.parse(quantity.format(number, style)) == number
