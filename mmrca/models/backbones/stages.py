"""Which stages of a backbone a config asks for."""

from collections.abc import Sequence


def check_out_indices(
    backbone: str, out_indices: Sequence[int], stages: int
) -> None:
    """Check the stages whose maps are wanted.

    Args:
        backbone: Its class's name, for the error.
        out_indices: The config's.
        stages: How many the backbone has.

    Raises:
        ValueError: They are none, not ascending, or not there.
    """
    there = set(out_indices) & set(range(stages))
    if not there or sorted(there) != list(out_indices):
        raise ValueError(
            f'{backbone}.out_indices is {tuple(out_indices)}; give '
            f'ascending stages of 0 to {stages - 1}'
        )
