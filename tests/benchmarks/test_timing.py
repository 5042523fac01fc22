import pytest

from benchmarks.timing import ratio, take_turns


def test_ways_take_turns_and_the_first_turn_is_dropped():
    order = []
    seconds = take_turns(
        {name: lambda name=name: order.append(name) for name in 'ab'}, 2
    )
    assert order == [*'ababab']
    assert [len(seconds[name]) for name in 'ab'] == [2, 2]


def test_ratio_is_taken_turn_by_turn():
    assert ratio([2, 9, 4, 5, 8], [1, 3, 1, 1, 1]) == (4, 3, 5)


def test_ratio_refuses_missing_turns():
    with pytest.raises(ValueError, match='zip'):
        ratio([1, 2], [1])
