"""Errors of builds that several wait for: each gets an object of its own, which is like that of the builder."""

import asyncio
import traceback
from typing import NoReturn

import pytest

from everfresh.cache.caching_errors import own_error
from tests.cache.making import Colour, Gate, many_threads, waited_for

pytestmark = pytest.mark.redis
N = 5


class Refused(Exception):
    """Takes other arguments than it keeps, and counts how often it was made."""

    n_made = 0

    def __init__(self, code: int) -> None:
        super().__init__(f"refused with {code}")
        self.code = code
        Refused.n_made += 1


class Slotted(Exception):
    """Keeps something where nobody finds it."""

    __slots__ = ("code",)
    code: int


class Unmakeable(Exception):
    """Cannot be made by those who do not know how."""

    def __new__(cls, *args: object, how: str) -> "Unmakeable":  # noqa: PYI034 - nobody inherits it
        return super().__new__(cls, *args)

    def __init__(self, *args: object, how: str) -> None:
        super().__init__(*args)
        self.how = how


async def met(colour: Colour, gate: Gate, error: Exception) -> list[BaseException]:
    """What each of several callers of one failing build meets, the builder first."""
    many_threads(N + 2)

    @colour.cached()
    async def value() -> int:
        await gate.stop()
        raise error from KeyError("why")

    builder = colour.start(value)
    await gate.reached()
    waiters = [colour.start(value) for _ in range(N)]
    await waited_for(colour.cache, value.key(), N)
    gate.open()
    return await asyncio.gather(builder, *waiters, return_exceptions=True)


async def test_each_who_waits_gets_an_error_of_its_own(colour: Colour, gate: Gate) -> None:
    """What one of them does with it, the others do not see."""
    error = Refused(404)
    error.add_note("said by the function")
    n_made = Refused.n_made

    found = await met(colour, gate, error)

    assert len({id(one) for one in found}) == N + 1
    assert {(type(one), str(one), vars(one)["code"], one.__notes__[0]) for one in found} == {
        (Refused, "refused with 404", 404, "said by the function")
    }
    assert Refused.n_made == n_made


async def test_notes_and_attributes_of_one_are_none_of_the_others(colour: Colour, gate: Gate) -> None:
    """Each may be told more."""
    error = Refused(404)
    error.add_note("said by the function")

    first, second, third, *_ = await met(colour, gate, error)
    first.add_note("said by the first")
    vars(second)["code"] = 500

    assert third.__notes__ == ["said by the function"]
    assert vars(third)["code"] == 404


async def test_each_tells_where_and_why_the_build_failed(colour: Colour, gate: Gate) -> None:
    """The traceback of the build, and what its error was raised from."""
    found = await met(colour, gate, Refused(404))

    for one in found:
        assert isinstance(one.__cause__, KeyError)
        assert any(frame.name == "value" for frame in traceback.extract_tb(one.__traceback__))


async def test_what_cannot_be_made_again_is_met_as_it_is(colour: Colour, gate: Gate) -> None:
    """Rather than as something else."""
    error = Unmakeable("no", how="well")

    assert {id(one) for one in await met(colour, gate, error)} == {id(error)}


def raised(error: Exception) -> Exception:
    """The error, with a traceback."""

    def fails() -> NoReturn:
        raise error

    with pytest.raises(type(error)) as caught:
        fails()
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a", 1),
        KeyError("k"),
        FileNotFoundError(2, "No such file", "a.txt"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        ImportError("no", name="module", path="where"),
        ExceptionGroup("several", [ValueError("a")]),
        Refused(404),
    ],
    ids=lambda error: type(error).__name__,
)
def test_it_is_like_the_one_that_was_raised(error: Exception) -> None:
    """Of its type, with its text, its arguments and its attributes."""
    error = raised(error)
    own = own_error(error)

    assert own is not error
    assert (type(own), str(own), repr(own), own.args) == (type(error), str(error), repr(error), error.args)
    assert vars(own) == vars(error)
    assert own.__traceback__ is error.__traceback__
    for name in ("filename", "errno", "object", "start", "name", "path", "exceptions"):
        assert getattr(own, name, None) == getattr(error, name, None)


def test_that_nothing_was_raised_from_is_kept() -> None:
    """`raise ... from None` hides what was being handled; so does its like."""
    error = ValueError("a")
    error.__context__, error.__suppress_context__ = KeyError("why"), True

    own = own_error(error)

    assert (own.__suppress_context__, own.__cause__, own.__context__) == (True, None, error.__context__)


def _slotted() -> Exception:
    error = Slotted("a")
    error.code = 5
    return error


class Loud(Exception):
    """Cannot be shown."""

    def __repr__(self) -> str:
        raise ValueError("no")


class ReadOnly(Exception):
    """Says another text than its arguments."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def __str__(self) -> str:
        return f"{self._text} at {id(self)}"


@pytest.mark.parametrize(
    "error", [_slotted(), Loud(), ReadOnly("a"), Unmakeable(how="well")], ids=lambda error: type(error).__name__
)
def test_where_there_can_be_no_other_it_is_the_same(error: Exception) -> None:
    """A difference would be worse."""
    assert own_error(error) is error
