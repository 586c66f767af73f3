import gc
import json
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from everfresh.cache.caching_errors import decode_error, encode_error, is_cached
from everfresh.model.errors import ArgumentNotSupported, BuildError, NotInCache, StoreUnavailable, WaitTimeout


class Kind(Enum):
    LOST = "lost"


class NotFound(LookupError):
    def __init__(self, kind: str, *, number: int) -> None:
        super().__init__(f"no {kind} {number}")
        self.number = number
        self.connection = object()


class Fussy(Exception):
    def __init__(self) -> None:
        super().__init__("made without arguments", 7)


def there_and_back(error: Exception, *types: type[Exception]) -> Exception:
    """The error as another reader gets it."""
    return decode_error(encode_error(error, types)[0], types)


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("a",),
        (1, 2.5, None, True, b"\x00"),
        ((1, [2]), {"a": {1}}),
        (datetime(2024, 2, 29, tzinfo=UTC), Decimal("1.10")),
    ],
    ids=repr,
)
def test_plain_arguments_come_back_with_their_types(args: tuple[Any, ...]) -> None:
    """As arguments of calls do."""
    error = there_and_back(ValueError(*args), ValueError)

    assert (type(error), error.args) == (ValueError, args)


def test_it_is_made_without_calling_its_init() -> None:
    """Which takes other arguments than `args` holds; what it noted comes back, as far as it is plain data."""
    error = there_and_back(NotFound("article", number=7), LookupError)

    assert isinstance(error, NotFound)
    assert (str(error), vars(error)) == ("no article 7", {"number": 7})
    assert there_and_back(Fussy(), Fussy).args == ("made without arguments", 7)


def test_an_os_error_keeps_its_number() -> None:
    """It is made of its arguments where others are not."""
    error = there_and_back(FileNotFoundError(2, "No such file", "a.txt"), OSError)

    assert isinstance(error, FileNotFoundError)
    assert (error.errno, error.strerror) == (2, "No such file")


def test_notes_come_along() -> None:
    """They say more of it."""
    error = ValueError("a")
    error.add_note("while reading b")

    assert there_and_back(error, ValueError).__notes__ == ["while reading b"]


@pytest.mark.parametrize(
    "argument", [object(), Kind.LOST, ValueError("inner"), [object()]], ids=["object", "enum", "error", "list"]
)
def test_an_argument_that_is_no_plain_data_is_refused(argument: object) -> None:
    """It would come back as something else."""
    with pytest.raises(ArgumentNotSupported):
        encode_error(ValueError(argument), (ValueError,))


def test_the_type_is_found_among_those_that_are_named_and_below_them() -> None:
    """However deep: a JSON error is a ValueError."""
    error = json.JSONDecodeError("bad", "{", 1)

    assert type(there_and_back(error, ValueError)) is json.JSONDecodeError
    assert type(there_and_back(error, Exception)) is json.JSONDecodeError


def test_a_type_that_is_not_known_here_is_raised_as_the_named_one() -> None:
    """Another process knows more kinds of it; nothing is imported because a store says so."""
    data, _ = encode_error(_made_up_error("Elsewhere"), (LookupError,))
    # A class is in a cycle with itself.
    gc.collect()
    error = decode_error(data, (LookupError,))

    assert (type(error), error.args) == (LookupError, ("a",))


def test_a_type_that_is_named_no_longer_is_a_failed_build() -> None:
    """Whoever catches it did not expect it."""
    data, _ = encode_error(ValueError("a"), (ValueError,))
    error = decode_error(data, (KeyError,))

    assert isinstance(error, BuildError)
    assert "builtins.ValueError" in str(error)


def test_equal_errors_have_equal_digests() -> None:
    """So an error that is raised again is no change; another one is."""
    one, other = (encode_error(ValueError("a"), (ValueError,)) for _ in range(2))

    assert one == other
    assert one[1] != encode_error(ValueError("b"), (ValueError,))[1]
    assert one[1] != encode_error(UnicodeError("a"), (ValueError,))[1]


@pytest.mark.parametrize(
    ("error", "types", "expected"),
    [
        (ValueError(), (), False),
        (ValueError(), (ValueError,), True),
        (UnicodeError(), (ValueError,), True),
        (ValueError(), (KeyError, ValueError), True),
        (KeyError(), (ValueError,), False),
        (NotInCache(), (KeyError,), False),
        (WaitTimeout(), (TimeoutError, Exception), False),
        (StoreUnavailable(), (Exception,), False),
        (NotInCache(), (NotInCache,), True),
        (WaitTimeout(), (BuildError,), True),
    ],
    ids=repr,
)
def test_only_what_is_named_is_cached(error: Exception, types: tuple[type[Exception], ...], expected: bool) -> None:
    """An error of the cache itself says nothing of the source, so it must be named as such."""
    assert is_cached(error, types) is expected


def _made_up_error(name: str) -> Exception:
    """An error of a type that is gone once it is written, as one of another process is never there."""
    return type(name, (LookupError,), {"__module__": "elsewhere"})("a")
