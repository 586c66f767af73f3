from collections.abc import Iterator

import pytest

from everfresh.model import errors
from everfresh.model.errors import EverfreshError, NotInCache

# Programs decide by these; a code that changes breaks them.
CODE_OF = {
    "EverfreshError": "everfresh.error",
    "InvalidEvent": "event.invalid",
    "InvalidDependency": "dependency.invalid",
    "InvalidPosition": "position.invalid",
    "InvalidOption": "option.invalid",
    "StoreUrlInvalid": "store.url_invalid",
    "ArgumentNotSupported": "argument.not_supported",
    "ValueNotSupported": "value.not_supported",
    "NotInCache": "entry.not_in_cache",
    "BuildError": "build.error",
    "WaitTimeout": "build.wait_timeout",
    "RecursiveBuild": "build.recursive",
    "TooManyGenerations": "build.too_many_generations",
    "UnknownFunction": "build.unknown_function",
    "StoreError": "store.error",
    "StoreUnavailable": "store.unavailable",
    "StoreForeign": "store.foreign",
    "StoreForked": "store.forked",
    "StoreClosed": "store.closed",
}


def tree(root: type[EverfreshError]) -> Iterator[type[EverfreshError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


ERRORS = [error for error in tree(EverfreshError) if error.__module__ == errors.__name__]


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_has_a_code_of_its_own_that_stays(error: type[EverfreshError]) -> None:
    """Messages may be mended, codes may not."""
    assert vars(error)["code"] == CODE_OF[error.__name__]


def test_no_two_errors_have_one_code() -> None:
    """A program that sees a code knows which error it is."""
    assert len({error.code for error in ERRORS}) == len(ERRORS)


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_stands_in_the_drawn_tree(error: type[EverfreshError]) -> None:
    """The picture at the top of the module is what people read at night."""
    assert error.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("InvalidEvent", ValueError),
        ("InvalidDependency", ValueError),
        ("InvalidPosition", ValueError),
        ("InvalidOption", ValueError),
        ("StoreUrlInvalid", ValueError),
        ("ArgumentNotSupported", TypeError),
        ("ValueNotSupported", TypeError),
        ("NotInCache", KeyError),
        ("WaitTimeout", TimeoutError),
        ("RecursiveBuild", RecursionError),
        ("UnknownFunction", LookupError),
    ],
)
def test_code_that_catches_pythons_own_error_catches_ours(name: str, builtin: type[Exception]) -> None:
    """Who replaces a dict by a cache keeps the `except KeyError`."""
    assert issubclass(getattr(errors, name), builtin)


def test_a_missing_key_reads_as_a_sentence() -> None:
    """KeyError alone would show the message in quotes."""
    assert str(NotInCache("'a' is not in the cache. Put it.")) == "'a' is not in the cache. Put it."


def test_a_missing_key_without_a_message_reads_as_nothing() -> None:
    """Showing an error must never raise another."""
    assert str(NotInCache()) == ""
