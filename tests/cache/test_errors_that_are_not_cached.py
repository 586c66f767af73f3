"""What is said of an error that `cache_errors` names and that cannot be cached."""

import pytest

from tests.cache.making import Colour, done


class Bad(Exception):
    """Holds whatever it is given."""


@pytest.mark.parametrize("argument", [object(), object, [object()]], ids=["object", "type", "in a list"])
async def test_the_note_speaks_of_the_error_and_of_no_worker(colour: Colour, argument: object) -> None:
    """No worker has to do with it, and how arguments are packed is not the user's business."""

    @colour.cached(cache_errors=(Bad,))
    async def value() -> int:
        raise Bad(argument)

    with pytest.raises(Bad) as caught:
        await done(value())

    why = f"Bad: its arguments {(argument,)!r} are no plain data."
    assert caught.value.__notes__ == [f"everfresh: it is not cached, though cache_errors names it: {why}"]
