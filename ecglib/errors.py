"""Errors that a user can mend: they name the argument, what came, what was expected and the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Integral

MOST_LISTED = 30  # choices that a message lists whole
LARGEST_SEED = 2**32 - 1  # that NumPy and scikit-learn take


class InputError(ValueError):
    """What the user gave cannot be used; the message says what to change."""


def choose(argument: str, value: object, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`.

    Parameters
    ----------
    argument : str
        Name of the argument, for the message.
    value : object
        What came.
    choices : iterable of str
        What is known.

    Raises
    ------
    InputError
        If `value` is none of `choices`; the message names the nearest of them.
    """
    known = list(choices)
    if isinstance(value, str) and value in known:
        return value
    near = get_close_matches(str(value), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    listed = ", ".join(known) if len(known) <= MOST_LISTED else f"{', '.join(known[:5])}, … ({len(known)} in all)"
    raise InputError(f"{argument}={value!r} is not known: {hint}choose one of {listed}")


def whole(argument: str, value: object, low: int, high: int) -> int:
    """Return `value` if it is a whole number, of Python or NumPy, from `low` to `high`.

    Raises
    ------
    InputError
        If it is anything else; True is no number.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= int(value) <= high:
        raise InputError(f"{argument}={value!r}; expected a whole number from {low} to {high}")
    return int(value)
