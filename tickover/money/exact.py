"""Exact numbers: fractions inside, decimals outside.

Owns: the way between both. Promises: no float; a fraction that no decimal can hold is cut to twelve digits.
Never: rounds money (a bill says where it does).
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from typing import Final

_CONTEXT: Final = Context(prec=60, rounding=ROUND_HALF_UP)
_DIGITS: Final = Decimal("1e-12")
_FEN: Final = Decimal("0.01")


def decimal(value: Fraction | int) -> Decimal:
    """The decimal of a fraction, without trailing zeros."""
    fraction = Fraction(value)
    exact = _CONTEXT.divide(Decimal(fraction.numerator), Decimal(fraction.denominator))
    if Fraction(exact) != fraction:
        exact = exact.quantize(_DIGITS, context=_CONTEXT)
    return Decimal(plain(exact))


def plain(value: Decimal) -> str:
    """Decimal text without exponent and without trailing zeros: ``361.977``, ``3290700``."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def to_fen(amount: Decimal) -> Decimal:
    """Money to the hundredth, half up, as it is shown to people."""
    return amount.quantize(_FEN, rounding=ROUND_HALF_UP, context=_CONTEXT)
