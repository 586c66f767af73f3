from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec
import pytest
from hypothesis import given

from everfresh.cache.signatures import CallSignature
from everfresh.model.errors import ArgumentNotSupported, InvalidOption
from tests.unit.cache.arguments import ARGUMENTS, exactly


class Kind(Enum):
    BUG = "bug"


@dataclass(frozen=True)
class Page:
    number: int


def plain(a: int, b: int = 2, *, c: int = 3) -> int:
    return a + b + c


def anything(value: Any) -> None:  # noqa: ANN401 - that is what it stands for
    return None


def variadic(*kinds: Kind, **pages: Page) -> None:
    return None


def positional(a: int = 1, b: int = 2, /) -> None:
    return None


def signature_of(function: Callable[..., Any], *ignore: str) -> CallSignature:
    return CallSignature(function, name="m.f@1", ignore=ignore, template=None)


def key_of(signature: CallSignature, *args: object, **kwargs: object) -> str:
    return signature.key(signature.bind(args, kwargs))


def test_a_call_has_one_key_however_it_is_written() -> None:
    """Defaults are filled in, and the order of keywords does not matter."""
    signature = signature_of(plain)

    keys = {key_of(signature, 1), key_of(signature, 1, 2), key_of(signature, c=3, b=2, a=1)}

    assert keys == {"m.f@1(a=1, b=2, c=3)"}


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "key"),
    [
        (lambda: None, (), {}, "m.f@1()"),
        (positional, (1,), {}, "m.f@1(a=1, b=2)"),
        (lambda *values: None, (1, "x"), {}, 'm.f@1(values=(1, "x",))'),
        (lambda **options: None, (), {"b": 2, "a": 1}, 'm.f@1(options={"a": 1, "b": 2})'),
    ],
    ids=["none", "positional", "args", "kwargs"],
)
def test_each_kind_of_parameter_has_its_place_in_the_key(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], key: str
) -> None:
    """Whatever tells two calls apart is in the key."""
    assert key_of(signature_of(function), *args, **kwargs) == key


def test_a_key_may_be_named_by_hand() -> None:
    """Then the template says how it looks."""
    signature = CallSignature(plain, name="m.f@1", ignore=("b",), template="sum:{a}/{c}")

    assert key_of(signature, 1, 5) == "sum:1/3"


def test_a_call_that_the_function_does_not_take_is_its_own_error() -> None:
    """A cached function refuses what the plain one refuses, in the same words."""
    with pytest.raises(TypeError, match="missing a required argument: 'a'"):
        signature_of(plain).bind((), {})


def test_an_argument_without_a_canonical_form_is_named() -> None:
    """The message says which argument of which function."""
    signature = signature_of(anything)

    with pytest.raises(ArgumentNotSupported, match=r"m\.f@1, argument value: an argument of type object"):
        key_of(signature, object())


# ------------------------------------------------------------------------------------------------------- recipes


@given(ARGUMENTS)
def test_a_worker_calls_with_what_the_reader_called_with(value: object) -> None:
    """No value changes on its way through the store."""
    signature = signature_of(anything)
    arguments = signature.bind((value,), {})

    decoded = signature.decode(signature.encode(arguments))

    assert exactly(decoded["value"]) == exactly(value)


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (plain, (1,), {"c": 5}),
        (positional, (5,), {}),
        (variadic, (), {}),
        (variadic, (Kind.BUG, Kind.BUG), {"first": Page(1), "last": Page(9)}),
    ],
    ids=["keywords", "positional", "nothing", "objects"],
)
def test_a_recipe_gives_the_arguments_back(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Annotations of `*args` and `**kwargs` are those of one element."""
    signature = signature_of(function)
    arguments = signature.bind(args, kwargs)

    decoded = signature.decode(signature.encode(arguments))

    assert decoded == arguments
    assert list(decoded) == list(arguments)


def test_an_argument_that_cannot_come_back_is_refused_by_its_name() -> None:
    """It is refused at the call, when somebody is there to see it."""

    def function(page: int) -> None: ...

    signature = signature_of(function)

    with pytest.raises(ArgumentNotSupported, match=r"m\.f@1, argument page: .* Annotate the parameter"):
        signature.encode(signature.bind((Page(1),), {}))


def test_an_argument_that_would_come_back_as_another_is_refused() -> None:
    """A worker would build another value than the reader."""

    def function(page: dict[str, int]) -> None: ...

    signature = signature_of(function)

    with pytest.raises(ArgumentNotSupported, match="a Page does not come back equal"):
        signature.encode(signature.bind((Page(1),), {}))


def no_parameters() -> None: ...


def other_name(value: int) -> None: ...


def one_more(a: int, b: int, c: int, d: int) -> None: ...


def other_type(a: int, b: int, c: Page) -> None: ...


@pytest.mark.parametrize("function", [no_parameters, other_name, one_more], ids=lambda function: function.__name__)
def test_a_recipe_of_an_older_signature_is_refused(function: Callable[..., Any]) -> None:
    """Somebody changed the function and forgot its version."""
    recipe = signature_of(plain).encode({"a": 1, "b": 2, "c": 3})

    with pytest.raises(ArgumentNotSupported, match=r"is not the one this entry was built with.*Raise its version"):
        signature_of(function).decode(recipe)


def test_a_recipe_whose_objects_have_other_types_by_now_is_refused() -> None:
    """The annotation cannot make them any more."""

    def before(page: Page) -> None: ...
    def after(page: Kind) -> None: ...

    recipe = signature_of(before).encode({"page": Page(1)})

    with pytest.raises(ArgumentNotSupported, match="Raise its version"):
        signature_of(after).decode(recipe)


@pytest.mark.parametrize("data", [b"", b"\xc1", msgspec.msgpack.encode([1]), msgspec.msgpack.encode({"a": b"\xc1"})])
def test_bytes_that_are_no_recipe_are_refused(data: bytes) -> None:
    """A store may hold what another version wrote."""
    with pytest.raises(ArgumentNotSupported, match="Raise its version"):
        signature_of(plain).decode(data)


# --------------------------------------------------------------------------------------------------------- ignored


def test_an_ignored_parameter_is_in_neither_key_nor_recipe() -> None:
    """Two calls that differ in it are one."""

    def function(session: Any = None, number: int = 1) -> None: ...  # noqa: ANN401 - no worker could make it

    signature = signature_of(function, "session")
    arguments = signature.bind((object(), 7), {})

    assert signature.key(arguments) == "m.f@1(number=7)"
    assert signature.decode(signature.encode(arguments)) == {"session": None, "number": 7}


def test_an_ignored_parameter_may_be_positional_only() -> None:
    """Those after it keep their place."""
    signature = signature_of(positional, "a")

    assert signature.decode(signature.encode(signature.bind((5, 7), {}))) == {"a": 1, "b": 7}


def test_an_ignored_name_must_be_a_parameter() -> None:
    """A slip of the pen would split every call in two."""
    with pytest.raises(InvalidOption, match=r"m\.f@1: ignore names 'session'.*\['a', 'b', 'c'\]"):
        signature_of(plain, "session")


def test_an_ignored_parameter_needs_a_default() -> None:
    """A worker builds without it."""
    with pytest.raises(InvalidOption, match="'a' is ignored but has no default"):
        signature_of(plain, "a")


# ----------------------------------------------------------------------------------------------------- annotations


def test_an_annotation_may_be_a_text() -> None:
    """Modules with postponed annotations have nothing else."""

    def function(page: "Page") -> "int": ...

    signature = signature_of(function)

    assert signature.annotation("page") is Page
    assert signature.annotation("return") is int


def test_what_has_no_annotation_may_be_anything() -> None:
    """Untyped functions can be cached too."""
    assert signature_of(lambda value: value).annotation("value") is Any
    assert signature_of(lambda value: value).annotation("return") is Any


def test_an_annotation_that_names_nothing_is_an_error_of_its_own() -> None:
    """It is found when it is first needed, and says where to look."""

    def function(page: "Missing") -> None: ...  # type: ignore[name-defined]  # noqa: F821 - that is the point

    with pytest.raises(InvalidOption, match=r"m\.f@1: an annotation cannot be read: name 'Missing'"):
        signature_of(function).annotation("page")
