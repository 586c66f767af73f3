"""Errors that hold something where neither their arguments nor their attributes show it: others get all of it."""

import io
from collections.abc import Callable
from email.message import Message
from urllib.error import HTTPError

import pytest

from everfresh.cache.caching_errors import own_error

URL = "https://example.org/page"


class Coded(Exception):
    """Keeps its code in a slot."""

    __slots__ = ("code",)
    code: int


class Plain(Exception):
    """Has a slot, in which nothing is."""

    __slots__ = ("code",)
    code: int


def of_http() -> HTTPError:
    """Its file name is the URL."""
    return HTTPError(URL, 404, "Not Found", Message(), io.BytesIO())


def of_an_attribute() -> AttributeError:
    """What Python suggests hangs on its name and its object."""
    return AttributeError("no", name="nope", obj=1)


def of_a_name() -> NameError:
    """As of an attribute."""
    return NameError("no", name="nope")


def coded() -> Coded:
    """With a code."""
    error = Coded("a")
    error.code = 5
    return error


@pytest.mark.parametrize("make", [of_http, of_an_attribute, of_a_name, coded], ids=lambda make: make.__name__)
def test_nothing_that_an_error_holds_is_lost_to_who_waits(make: Callable[[], Exception]) -> None:
    """What cannot be made alike is the same object, or all of it is there."""
    error = make()
    own = own_error(error)

    for name in ("filename", "name", "obj", "code"):
        assert getattr(own, name, None) == getattr(error, name, None)


def test_what_can_be_made_alike_is_another() -> None:
    """An empty slot keeps nobody from it."""
    error = Plain("a")
    own = own_error(error)

    assert own is not error
    assert (type(own), own.args) == (Plain, ("a",))
