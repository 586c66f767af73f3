"""Conditions beyond equality, for the fields of a dependency; and `Argument`, which stands where a value would.

A condition is held by each element of a field's value, and the field meets it when any of its elements does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import msgspec

from everfresh.model.errors import InvalidDependency

_COMPARISONS = ("lt", "le", "gt", "ge")


class Argument(msgspec.Struct, frozen=True):
    """A place in a declared dependency that takes the value of one of the call's arguments."""

    name: str


def arg(name: str) -> Argument:
    """Stand for the argument `name` of the cached function, in `depends_on`."""
    return Argument(name)


class Condition(msgspec.Struct, frozen=True):
    """What a field must be, other than equal to one value. Made by `dep.lt`, `dep.one_of` and their like.

    Raises:
        InvalidDependency: there is no such operator, or the operand is none for it.
    """

    operator: str
    operand: Any = None  # whatever stands in an event may be compared with

    def __post_init__(self) -> None:
        check = _CHECKS.get(self.operator)
        if check is None:
            raise InvalidDependency(f"condition: {self.operator!r} is no operator. Use one of {sorted(_CHECKS)}.")
        check(self.operator, self.operand)


def one_of(*values: object) -> Condition:
    """The field is one of these values. A list given for a `dep.arg` among them counts by its elements.

    Raises:
        InvalidDependency: no value, or one that no field can equal.
    """
    if not values:
        raise InvalidDependency("dep.one_of: it has no values, so no event would ever meet it. Give at least one.")
    return Condition("one_of", values)


def lt(value: object) -> Condition:
    """The field is less than the value. Numbers compare as numbers, other texts by code point.

    Raises:
        InvalidDependency: the value has no order.
    """
    return Condition("lt", value)


def le(value: object) -> Condition:
    """The field is the value or less, compared as in `lt`.

    Raises:
        InvalidDependency: the value has no order.
    """
    return Condition("le", value)


def gt(value: object) -> Condition:
    """The field is greater than the value, compared as in `lt`.

    Raises:
        InvalidDependency: the value has no order.
    """
    return Condition("gt", value)


def ge(value: object) -> Condition:
    """The field is the value or greater, compared as in `lt`.

    Raises:
        InvalidDependency: the value has no order.
    """
    return Condition("ge", value)


def between(low: object, high: object) -> Condition:
    """The field is `low`, `high` or between them, compared as in `lt`.

    Raises:
        InvalidDependency: one of them has no order.
    """
    return Condition("between", (low, high))


def startswith(text: str | Argument) -> Condition:
    """The field is a text that begins with this one.

    Raises:
        InvalidDependency: it is no text.
    """
    return Condition("startswith", text)


def is_null() -> Condition:
    """The field is null. In an event that is no row's, an absent field counts as null."""
    return Condition("is_null")


def not_(condition: object) -> Condition:
    """The field does not meet the condition; given a value, the field differs from it.

    Null under `not_` counts as touched, as databases and Python disagree about it. So does a list of which only
    some elements meet the condition: that it does not meet it may be meant of one of them, or of all.

    Raises:
        InvalidDependency: the value is one that no field can equal.
    """
    if not isinstance(condition, Condition) or condition.operator != "not":
        return Condition("not", condition)
    inner: object = condition.operand
    return inner if isinstance(inner, Condition) else one_of(inner)


def operands_of(value: object) -> Iterator[object]:
    """The values in a condition, or the value itself when it is none."""
    if not isinstance(value, Condition):
        yield value
        return
    operand: object = value.operand
    for part in cast("tuple[object, ...]", operand) if isinstance(operand, tuple) else (operand,):
        yield from operands_of(part)


def value_filled(value: object, arguments: Mapping[str, Any]) -> object:
    """The value, or the condition, with the call's arguments in the places of `dep.arg`.

    Raises:
        InvalidDependency: an argument is no operand for its condition.
    """
    if isinstance(value, Argument):
        return arguments[value.name]
    if not isinstance(value, Condition):
        return value
    operand: object = value.operand
    if not isinstance(operand, tuple):
        return Condition(value.operator, value_filled(operand, arguments))
    parts = cast("tuple[object, ...]", operand)
    if value.operator == "one_of":
        return Condition("one_of", tuple(part for place in parts for part in _spread(place, arguments)))
    return Condition(value.operator, tuple(value_filled(part, arguments) for part in parts))


def _spread(place: object, arguments: Mapping[str, Any]) -> tuple[object, ...]:
    filled = value_filled(place, arguments)
    if isinstance(place, Argument) and isinstance(filled, list | tuple | set | frozenset):
        return tuple(cast("list[object]", filled))
    return (filled,)


def check_equal_operand(what: str, value: object) -> None:
    """Accept a value that a field can equal.

    Raises:
        InvalidDependency: it is a list, of which events are read element by element.
    """
    if isinstance(value, list | tuple | set | frozenset):
        msg = (
            f"{what} is to equal a list, and never will: of a list in an event each element is read by itself. "
            "Declare one dependency for each element, or use dep.one_of(*elements)."
        )
        raise InvalidDependency(msg)


def _check_equal(operator: str, operand: object) -> None:
    if isinstance(operand, Condition):
        msg = f"dep.{operator}: {operand!r} is a condition. Give values; only dep.not_ takes a condition."
        raise InvalidDependency(msg)
    check_equal_operand(f"dep.{operator}: a field", operand)


def _check_several(operator: str, operand: object) -> None:
    if not isinstance(operand, tuple):
        raise InvalidDependency(f"dep.{operator}: {operand!r} is no tuple of values. Use dep.{operator}(...).")
    for value in cast("tuple[object, ...]", operand):
        _check_equal(operator, value)


def _check_ordered(operator: str, operand: object) -> None:
    is_nan = not isinstance(operand, Argument | Condition) and operand != operand  # noqa: PLR0124 - how NaN is known
    if operand is None or is_nan or isinstance(operand, list | tuple | set | frozenset | Mapping | Condition):
        msg = (
            f"dep.{operator}: {operand!r} has no order, so no field is less or greater. "
            "Give a number, a text, a date or the like; for null there is dep.is_null()."
        )
        raise InvalidDependency(msg)


def _check_pair(operator: str, operand: object) -> None:
    pair = cast("tuple[object, ...]", operand) if isinstance(operand, tuple) else ()
    if len(pair) != 2:  # noqa: PLR2004 - a pair
        raise InvalidDependency(f"dep.{operator}: {operand!r} is no pair. Use dep.{operator}(low, high).")
    for end in pair:
        _check_ordered(operator, end)


def _check_text(operator: str, operand: object) -> None:
    if not isinstance(operand, str | Argument):
        raise InvalidDependency(f"dep.{operator}: {operand!r} is no text. Give the text that the field begins with.")


def _check_nothing(operator: str, operand: object) -> None:
    if operand is not None:
        raise InvalidDependency(f"dep.{operator}: it takes no value, and was given {operand!r}. Leave it out.")


def _check_inner(operator: str, operand: object) -> None:
    if not isinstance(operand, Condition):
        check_equal_operand(f"dep.{operator}_: what a field differs from", operand)
    elif operand.operator == "not":
        raise InvalidDependency(f"dep.{operator}_: {operand!r} is negated already. Use the condition inside it.")


_CHECKS: dict[str, Callable[[str, object], None]] = {
    **dict.fromkeys(_COMPARISONS, _check_ordered),
    "between": _check_pair,
    "is_null": _check_nothing,
    "not": _check_inner,
    "one_of": _check_several,
    "startswith": _check_text,
}
