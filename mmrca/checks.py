"""What values given by a config have to be."""

from typing import Any


def is_number(value: Any) -> bool:
    """Tell whether a value is a whole or broken number, which no bool is."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_share(name: str, value: Any) -> None:
    """Refuse what is no share.

    Args:
        name: Of the option, for the error.
        value: As given.

    Raises:
        ValueError: If it is no number in 0..1.
    """
    if not is_number(value) or not 0 <= value <= 1:
        raise ValueError(f'{name} must be a number in 0..1, not {value!r}.')


def check_count(name: str, value: Any, least: int) -> None:
    """Refuse what is no whole number, or too small.

    Args:
        name: Of the option, for the error.
        value: As given.
        least: The smallest one allowed.

    Raises:
        ValueError: If it is none.
    """
    if type(value) is not int:
        raise ValueError(f'{name} must be a whole number, not {value!r}.')
    if value < least:
        raise ValueError(f'{name} must be {least} or more, not {value}.')
