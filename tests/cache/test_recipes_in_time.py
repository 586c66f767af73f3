"""When the recipe of a call is made: before its caller may change what it is made of, and not for each hit."""

import pytest

from everfresh import Cache
from everfresh.protocol.requests import Call


@pytest.fixture
def cache() -> Cache:
    """One in memory."""
    return Cache()


def test_a_call_of_what_nobody_can_change_has_no_recipe_until_it_is_needed(cache: Cache) -> None:
    """Most reads are hits, and need none."""

    @cache.cached
    def text(number: int, name: str) -> str:
        return f"{number} {name}"

    (spec,) = cache.engine.functions.values()
    call = cache.engine.bind(spec, {"number": 1, "name": "a"}, text.key(1, "a"))
    before = call.made

    assert before is None
    assert call.recipe.function == spec.name
    assert spec.signature.decode(call.recipe.arguments) == {"number": 1, "name": "a"}
    assert call.recipe is call.recipe


def test_the_recipe_of_what_its_caller_may_change_is_made_at_once(cache: Cache) -> None:
    """It goes on using its lists while a build waits."""

    @cache.cached
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    (spec,) = cache.engine.functions.values()
    numbers = [1, 2]
    call = cache.engine.bind(spec, {"numbers": numbers}, total.key(numbers))
    numbers.append(3)

    assert spec.signature.decode(call.recipe.arguments) == {"numbers": [1, 2]}


def test_a_worker_builds_by_the_recipe_that_was_queued(cache: Cache) -> None:
    """It was read, and is not written again to see that it can be."""

    @cache.cached
    def text(number: int) -> str:
        return str(number)

    (spec,) = cache.engine.functions.values()
    queued: Call = cache.engine.bind(spec, {"number": 1}, text.key(1))

    resolved = cache.engine.resolve(queued.key, queued.recipe)

    assert resolved.recipe is queued.recipe
    assert resolved.arguments == {"number": 1}
