"""What values given by a config have to be."""

from typing import Any


def check_share(name: str, value: Any) -> None:
    """Refuse what is no share.

    Args:
        name: Of the option, for the error.
        value: As given.

    Raises:
        ValueError: If it is no number in 0..1.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        raise ValueError(f'{name} must be a number in 0..1, not {value!r}.')
