"""Conditions beyond equality as texts: the operator stands in the shape, the operand in the values of an entry.

An answer is True, False, or None when nobody can tell, which counts as touched. Whether null meets a
negation, and whether a number comes before a word, is not agreed between databases and Python; so both are None.
Whether '1.10' equals '1.1' hangs on whether both are numbers: values of different texts differ, those of the same text
are equal where both are plain, and otherwise nobody can tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from enum import Enum
from typing import Any, cast
from uuid import UUID

from everfresh.matching.canonical import NULL, canonical_text, framed, is_plain, unframed
from everfresh.model.conditions import Condition, operands_of

_Test = Callable[[str, str], bool | None]
Reading = Sequence[str]
"""The texts of a field's elements; none when it is absent or an empty list."""

NOT = "not"
STARTSWITH = "startswith"
_IS_NULL = "is_null"
_EQUAL = "eq"
_ONE_OF = "one_of"
# Stands before the operator when an operand is not plain.
_ROUGHLY = "roughly "
# Stands before the text of a value that is not plain.
_LIKE = "\0like "
_NUMBER = re.compile(r"-?(?:\d+(?:\.\d+)?(?:E[+-]\d{1,17})?|Infinity)", re.ASCII)
# A number of more digits is compared with nothing: to read it for each candidate would cost too much.
_MAX_DIGITS = 1_000
# What has another text wherever it is written down; nobody can tell how it begins.
_NO_TEXT = "\0no text"


def operator_of(condition: Condition) -> str:
    """The operator as it stands in a shape: `lt`, or `not lt`; `not eq` for a negated value."""
    if condition.operator != NOT:
        return condition.operator
    inner: object = condition.operand
    return f"{NOT} {inner.operator if isinstance(inner, Condition) else _EQUAL}"


def operand_text(condition: Condition) -> str:
    """The operand as one text, equal for equal operands; delimiters in values never alias.

    Raises:
        InvalidDependency: a value has no canonical text.
    """
    operand: object = condition.operand
    match condition.operator:
        case "not":
            return operand_text(operand) if isinstance(operand, Condition) else canonical_text(operand)
        case "one_of":
            values = cast("tuple[object, ...]", operand)
            return "".join(framed(text) for text in sorted({canonical_text(value) for value in values}))
        case "between":
            values = cast("tuple[object, ...]", operand)
            return "".join(framed(canonical_text(value)) for value in values)
        case "startswith":
            return str.__str__(cast("str", operand))
        case "is_null":
            return ""
        case _:
            return canonical_text(operand)


def is_rough(condition: Condition) -> bool:
    """Whether an operand that is to be equalled is not plain, so that nobody can tell whether a value equals it.

    Raises:
        InvalidDependency: a value has no canonical text.
    """
    return compares_equal(operator_of(condition)) and not all(map(is_plain, operands_of(condition)))


def compares_equal(operator: str) -> bool:
    """Whether the operator asks which values are equal."""
    return operator.removeprefix(f"{NOT} ") in (_EQUAL, _ONE_OF)


def roughly(operator: str) -> str:
    """The operator as it is asked of operands that are not plain."""
    if not compares_equal(operator):
        return operator
    is_negated = operator.startswith(NOT)
    return f"{NOT} {_ROUGHLY}{operator.removeprefix(f'{NOT} ')}" if is_negated else f"{_ROUGHLY}{operator}"


def equal_text(value: object) -> str:
    """A value as it is compared for equality: its canonical text, marked where it is not plain.

    Raises:
        InvalidDependency: the value has no canonical text.
    """
    text = canonical_text(value)
    return text if is_plain(value) else doubted(text)


def doubted(text: str) -> str:
    """The text, marked as one of which nobody can tell whether it is that of an equal value."""
    return text if text.startswith(_LIKE) else f"{_LIKE}{text}"


def is_prefix_operator(operator: str) -> bool:
    """Whether values are read by `prefix_text` for this operator."""
    return operator.endswith(STARTSWITH)


def prefix_text(value: object) -> str:
    """A value as `startswith` compares it: as it is written, and as its canonical text, which may begin otherwise.

    Raises:
        InvalidDependency: the value has no canonical text.
    """
    if isinstance(value, Enum):
        return prefix_text(value.value)
    text = canonical_text(value)
    if text == NULL:
        return NULL
    match value:
        case str():
            written = str.__str__(value)
        case date() | time() | UUID():
            written = str(value)
        case _:
            return _NO_TEXT
    return framed(text) if written == text else framed(written) + framed(text)


def passes(operator: str, values: Reading | None, operand: str) -> bool | None:
    """Whether any of the values meets the condition; None when that cannot be told, or the values are unknown.

    Of a negated one nobody can tell when the values disagree: it may mean that any of them differs, or that all do.
    """
    if values is None:
        return None
    is_negated = operator.startswith(NOT)
    if not values:
        # Whether it counts as null, databases and Python do not agree.
        meets_null = operator == _IS_NULL or (operator.endswith(_ONE_OF) and NULL in unframed(operand))
        return None if is_negated or meets_null else False
    test = _TESTS.get(operator.removeprefix(f"{NOT} "))
    if test is None:
        # Written by a newer version.
        return None
    answers = {(_negated if is_negated else _plain)(test, value, operand) for value in values}
    if is_negated:
        return answers.pop() if len(answers) == 1 else None
    if True in answers:
        return True
    return None if None in answers else False


def _plain(test: _Test, value: str, operand: str) -> bool | None:
    return test(value, operand)


def _negated(test: _Test, value: str, operand: str) -> bool | None:
    answer = test(value, operand)
    # Whether null differs from a value, databases and Python do not agree.
    if answer is None or (value == NULL and not answer and test is not _is_null):
        return None
    return not answer


def order_of(value: str, other: str) -> int | None:
    """Negative, zero or positive as the value is less, equal or greater; None when nobody can tell."""
    if value == other:
        return 0
    is_number, is_other_number = (_NUMBER.fullmatch(text) is not None for text in (value, other))
    if is_number is not is_other_number or "\0" in (value[:1], other[:1]):
        return None
    if is_number:
        if max(len(value), len(other)) > _MAX_DIGITS:
            return None
        number, limit = Decimal(value), Decimal(other)
        return (number > limit) - (number < limit)
    # A day against a moment of that day: nobody can tell whether the day stands for its first moment.
    if value.startswith(f"{other}T") or other.startswith(f"{value}T"):
        return None
    return -1 if value < other else 1


def _is_null(value: str, _operand: str) -> bool:
    return value == NULL


def _ordered(holds: Callable[[int], bool]) -> _Test:
    def test(value: str, operand: str) -> bool | None:
        if value == NULL:
            return False
        order = order_of(value, operand)
        return None if order is None else holds(order)

    return test


def _is_between(value: str, operand: str) -> bool | None:
    low, high = unframed(operand)
    if value == NULL:
        return False
    below, above = order_of(value, low), order_of(value, high)
    if (below is not None and below < 0) or (above is not None and above > 0):
        return False
    return None if below is None or above is None else True


def _starts(value: str, operand: str) -> bool | None:
    if value == NULL:
        return False
    if value == _NO_TEXT:
        return None
    answers = {form.startswith(operand) for form in unframed(value)}
    return answers.pop() if len(answers) == 1 else None


def _equals(value: str, operand: str) -> bool | None:
    return None if value == f"{_LIKE}{operand}" else value == operand


def _is_one_of(value: str, operand: str) -> bool | None:
    found = value.removeprefix(_LIKE) in unframed(operand)
    return None if found and value.startswith(_LIKE) else found


def _in_doubt(test: _Test) -> _Test:
    """The same test, where what is equal may be so in its text alone."""
    return lambda value, operand: False if test(value, operand) is False else None


_TESTS: Mapping[str, _Test] = {
    _EQUAL: _equals,
    _IS_NULL: _is_null,
    _ONE_OF: _is_one_of,
    f"{_ROUGHLY}{_EQUAL}": _in_doubt(_equals),
    f"{_ROUGHLY}{_ONE_OF}": _in_doubt(_is_one_of),
    "lt": _ordered(lambda order: order < 0),
    "le": _ordered(lambda order: order <= 0),
    "gt": _ordered(lambda order: order > 0),
    "ge": _ordered(lambda order: order >= 0),
    "between": _is_between,
    STARTSWITH: _starts,
}

TextOf = Callable[[Any], str]


def text_of_for(operator: str) -> TextOf:
    """How values are read for the operator."""
    if is_prefix_operator(operator):
        return prefix_text
    return equal_text if compares_equal(operator) else canonical_text
