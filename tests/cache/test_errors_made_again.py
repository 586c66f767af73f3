"""Errors that are cached come back as they were raised, or are not cached at all."""

from io import BytesIO
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError

import pytest
from pydantic import BaseModel, ValidationError

from everfresh.cache.caching_errors import decode_error, encode_error
from tests.cache.making import Colour, done


class NeedsKeywords(Exception):
    """Cannot be made from its arguments."""

    code: int

    def __new__(cls, *, code: int) -> Self:
        made = super().__new__(cls)
        made.code = code
        return made

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")


class ShowsItsPlace(Exception):
    """Says what no other process can say."""

    def __init__(self) -> None:
        super().__init__("no way")
        self.place = object()

    def __str__(self) -> str:
        return f"no way at {self.place!r}"


class ShowsAPath(Exception):
    """Cannot be shown without what stays behind."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self.place = place

    def __str__(self) -> str:
        return f"nothing at {self.place.name}"


class Model(BaseModel):
    number: int


def invalid() -> ValidationError:
    try:
        Model.model_validate({"number": "a"})
    except ValidationError as error:
        return error
    raise AssertionError


async def tried_twice(colour: Colour, error: Exception) -> tuple[int, list[Exception]]:
    """How often a function ran that raises the error and caches it, and what two callers got."""
    n_run = 0

    @colour.cached(cache_errors=(type(error),))
    async def broken() -> int:
        nonlocal n_run
        n_run += 1
        raise error

    caught: list[Exception] = []
    for _ in range(2):
        with pytest.raises(Exception) as raised:  # noqa: PT011 - which one is the question
            await done(broken())
        caught.append(raised.value)
    return n_run, caught


@pytest.mark.parametrize(
    "error",
    [NeedsKeywords(code=7), ShowsItsPlace(), ShowsAPath(Path("/articles")), invalid()],
    ids=["keywords", "place", "path", "pydantic"],
)
async def test_an_error_that_cannot_be_made_again_is_not_cached(colour: Colour, error: Exception) -> None:
    """Each caller gets the very error, and is told why the function ran again."""
    n_run, caught = await tried_twice(colour, error)

    assert (n_run, caught) == (2, [error, error])
    assert any("it is not cached" in note for note in error.__notes__)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "No such file or directory", "/nope"),
        OSError(18, "Invalid cross-device link", "a", None, "b"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        StopAsyncIteration(3),
        KeyError("a"),
        ImportError("no module", name="nope", path="/nope"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_of_python_is_cached_as_it_is(colour: Colour, error: Exception) -> None:
    """With its text, its arguments and what it tells about the file: the function runs once."""
    shown = (type(error), str(error), repr(error), error.args)
    n_run, caught = await tried_twice(colour, error)

    assert [(type(one), str(one), repr(one), one.args) for one in caught] == [shown, shown]
    assert n_run == 1


async def test_an_error_about_a_file_says_which(colour: Colour) -> None:
    """Who catches it asks for the name."""
    _, caught = await tried_twice(colour, FileNotFoundError(2, "No such file or directory", "/nope"))
    (first, second) = [(one.errno, one.filename) for one in caught if isinstance(one, OSError)]

    assert first == second == (2, "/nope")


async def test_an_error_of_a_library_is_the_same_for_each_caller(colour: Colour) -> None:
    """Cached or not: what a caller gets can be shown, and says the same."""
    headers: Any = {}
    error = HTTPError("http://example.org", 404, "not found", headers, BytesIO())
    _, caught = await tried_twice(colour, error)

    assert [(str(one), one.code, one.read()) for one in caught if isinstance(one, HTTPError)] == [
        ("HTTP Error 404: not found", 404, b"")
    ] * 2


def test_an_error_whose_type_has_changed_meanwhile_is_told_as_what_it_was() -> None:
    """Another process, with newer code, may not be able to make it: that is said, and is no TypeError."""

    class Old(Exception):
        pass

    data, _ = encode_error(Old("gone"), (Old,))

    class New(Exception):
        def __new__(cls, *, code: int) -> Self:
            return super().__new__(cls, code)

    New.__qualname__ = Old.__qualname__
    error = decode_error(data, (New,))

    assert type(error).__name__ == "BuildError"
    assert "Old" in str(error)
