"""Whether a value is still the very same, which is asked more finely than whether two values are one thing.

Canonical texts say which dependency a value meets, and there too much is harmless: '1.1' and '1.10' are one number. To
whoever shows the value, or lists by it, the one becoming the other may be news, and there too little is a miss. So what
is the same is of the same class and written the same; everything else has changed.
"""

from __future__ import annotations

from collections.abc import Iterable

from everfresh.matching.canonical import NULL, canonical_text

# Of these, equal values of one class are written the same.
_PLAIN = frozenset({str, int, bool, bytes, type(None)})
_NOTHING = frozenset({NULL})


def is_same(old: object, new: object) -> bool:
    """Whether nobody can tell the values apart."""
    if old is new:
        return True
    kind = type(old)
    if kind is not type(new) or not bool(old == new):
        return False
    # Decimal("1.1") equals Decimal("1.10"), [1] equals [True], noon in Rome equals a time in Tokyo.
    return kind in _PLAIN or repr(old) == repr(new)


def are_same(old: list[object], new: list[object]) -> bool:
    """Whether nobody can tell the rows of values apart."""
    return len(old) == len(new) and all(map(is_same, old, new))


def texts_in_doubt(old: Iterable[object], new: Iterable[object]) -> frozenset[str]:
    """The texts that both have, of values that only one of them has; where there are no values, null may be meant.

    Raises:
        InvalidDependency: a value has no canonical text.
    """
    was, is_ = ({(canonical_text(value), type(value), repr(value)) for value in values} for values in (old, new))
    return _texts(was ^ is_) & (_texts(was) or _NOTHING) & (_texts(is_) or _NOTHING)


def _texts(forms: Iterable[tuple[str, type, str]]) -> frozenset[str]:
    return frozenset(text for text, _, _ in forms)
