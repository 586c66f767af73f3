"""Options that callers without types may get wrong."""

from __future__ import annotations

from everfresh.model.errors import InvalidOption


def whole_number(value: object, *, option: str, least: int) -> int:
    """The number, if it is whole and not below `least`.

    Raises:
        InvalidOption: it is something else; the message names `option`.
    """
    if type(value) is not int or value < least:
        raise InvalidOption(f"{option}: {value!r} cannot be used. Use a whole number, {least} or more.")
    return value
