"""Options are checked when they are given, not when they are used."""

import pytest

from everfresh.model.errors import InvalidOption
from everfresh.model.options import whole_number


@pytest.mark.parametrize("number", [1, 2, 10**9])
def test_a_whole_number_that_is_large_enough_is_taken_as_it_is(number: int) -> None:
    """An option that fits is not changed."""
    assert whole_number(number, option="near", least=1) == number


@pytest.mark.parametrize("nonsense", [0, -1, 1.0, True, "1", None])
def test_anything_else_is_refused_and_the_option_is_named(nonsense: object) -> None:
    """A bool or a float is no count, whatever Python says."""
    with pytest.raises(InvalidOption, match="near"):
        whole_number(nonsense, option="near", least=1)
