"""Quantities: `500m` CPUs, `64Mi` of memory. Text <-> exact numbers, and upstream's canonical text.

    quantity        = number suffix
    suffix          = binary | decimal | exponent
    binary          = Ki Mi Gi Ti Pi Ei                     powers of 1024
    decimal         = n u m "" k M G T P E                  powers of 1000
    exponent        = ("e" | "E") signed integer            powers of 10

Source: k8s.io/apimachinery pkg/api/resource quantity.go, suffix.go.
"""

import functools
import math
import re
from enum import StrEnum
from fractions import Fraction

PATTERN = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
WRONG_FORMAT = f"quantities must match the regular expression '{PATTERN}'"
WRONG_NUMBER = "unable to parse numeric part of quantity"
WRONG_SUFFIX = "unable to parse quantity's suffix"

_SHAPE = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_EXPONENT = re.compile(r"[eE]([-+]?[0-9]+)", re.ASCII)
_BINARY = {
    suffix: 1024**power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)
}
_DECIMAL_NAMES = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")
_DECIMAL = {suffix: 3 * power for power, suffix in enumerate(_DECIMAL_NAMES, -3)}
_DECIMAL_BY_EXPONENT = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_NANO = 10**9
_MAX = 2**63 - 1
_MAX_EXPONENT = 400  # any larger power of ten is beyond the cap, and not worth computing


class Format(StrEnum):
    """How a quantity was written, which is how its canonical form is written."""

    BINARY_SI = "BinarySI"
    DECIMAL_SI = "DecimalSI"
    DECIMAL_EXPONENT = "DecimalExponent"


def parse(quantity: str | int | float) -> Fraction:
    """Return the exact number a quantity stands for.

    Finer than one billionth is rounded away from zero; beyond 2^63-1 is capped, as upstream does.

    Raises:
        ValueError: it is no quantity; the message is upstream's.
    """
    return _parse(quantity if isinstance(quantity, str) else _number_text(quantity))[0]


def milli(quantity: str | int | float) -> int:
    """Return thousandths, rounded up: CPU `500m` -> 500.

    Raises:
        ValueError: it is no quantity.
    """
    return math.ceil(parse(quantity) * 1000)


def value(quantity: str | int | float) -> int:
    """Return whole units, rounded up: memory `1Ki` -> 1024.

    Raises:
        ValueError: it is no quantity.
    """
    return math.ceil(parse(quantity))


@functools.lru_cache(maxsize=4096, typed=True)
def canonical(quantity: str | int | float) -> str:
    """Return the text the API server answers for a quantity: `0.5` -> `500m`, `2048Ki` -> `2Mi`.

    Raises:
        ValueError: it is no quantity.
    """
    number, style = _parse(quantity if isinstance(quantity, str) else _number_text(quantity))
    return format(number, style)


def is_binary(quantity: str | int | float) -> bool:
    """Whether a quantity is written with a power of 1024; False for what is no quantity."""
    try:
        return _parse(str(quantity))[1] is Format.BINARY_SI
    except ValueError:
        return False


def format(number: Fraction | int, style: Format = Format.DECIMAL_SI) -> str:
    """Write a number with the largest suffix that needs no fraction.

    A binary style falls back to decimal below 1024 and where it would lose a fraction.
    """
    number = _round(Fraction(number))
    if number == 0:
        return "0"
    if style is Format.BINARY_SI and abs(number) >= 1024 and number.denominator == 1:
        return _format_binary(int(number))
    scaled, exponent = int(number * _NANO), -9
    while scaled % 1000 == 0:
        scaled, exponent = scaled // 1000, exponent + 3
    if style is Format.DECIMAL_EXPONENT:
        return f"{scaled}e{exponent}" if exponent else str(scaled)
    while exponent > 18:
        scaled, exponent = scaled * 1000, exponent - 3
    return f"{scaled}{_DECIMAL_BY_EXPONENT[exponent]}"


def _format_binary(number: int) -> str:
    suffix = ""
    for name in _BINARY:
        if number % 1024:
            break
        number, suffix = number // 1024, name
    return f"{number}{suffix}"


def _number_text(number: int | float) -> str:
    if isinstance(number, float) and not math.isfinite(number):
        raise ValueError(WRONG_FORMAT)
    return repr(number)


def _round(number: Fraction) -> Fraction:
    """Round to billionths away from zero, and cap."""
    nanos = number * _NANO
    if nanos.denominator != 1:
        whole = math.ceil(abs(nanos))
        number = Fraction(whole if nanos > 0 else -whole, _NANO)
    return max(Fraction(-_MAX), min(Fraction(_MAX), number))


@functools.lru_cache(maxsize=4096)
def _parse(text: str) -> tuple[Fraction, Format]:
    if not text:
        raise ValueError(WRONG_FORMAT)
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise ValueError(WRONG_FORMAT)
    sign, whole, decimals, suffix = (
        match.group(1),
        match.group(2),
        match.group(3) or "",
        match.group(4),
    )
    if not whole and not decimals:
        raise ValueError(WRONG_FORMAT if not suffix else WRONG_NUMBER)
    number = Fraction(int(whole + decimals), 10 ** len(decimals))
    factor, style = _factor(suffix)
    number = number * factor if number else number
    return _round(-number if sign == "-" else number), style


def _factor(suffix: str) -> tuple[Fraction, Format]:
    if suffix in _BINARY:
        return Fraction(_BINARY[suffix]), Format.BINARY_SI
    if suffix in _DECIMAL:
        return Fraction(10) ** _DECIMAL[suffix], Format.DECIMAL_SI
    match = _EXPONENT.fullmatch(suffix)
    if match is None:
        raise ValueError(WRONG_SUFFIX)
    exponent = int(match.group(1)) if len(match.group(1)) < 6 else _MAX_EXPONENT
    if match.group(1).startswith("-"):
        exponent = -abs(exponent)
    bounded = max(-_MAX_EXPONENT, min(_MAX_EXPONENT, exponent))
    return Fraction(10) ** bounded, Format.DECIMAL_EXPONENT
