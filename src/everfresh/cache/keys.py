"""Keys that people give: what may be one, and under which of them something can be stored at all."""

from __future__ import annotations

from collections.abc import Sequence

from everfresh.model.entry import Key
from everfresh.model.errors import InvalidOption


def new_key(key: object, *, what: str) -> Key:
    """The key, as one under which something is to be stored by the operation `what`.

    Raises:
        InvalidOption: nothing can be stored under it.
    """
    if not isinstance(key, str) or not key or not is_storable(key):
        msg = f"{what}: {key!r} is no key. Use a text that is not empty and can be written as UTF-8."
        raise InvalidOption(msg)
    return Key(key)


def known_keys(keys: Sequence[object], *, what: str) -> tuple[Key, ...]:
    """Those of the keys under which something may be stored; no store is asked for the others.

    Raises:
        InvalidOption: one of them is no text, so the call of the operation `what` is a mistake.
    """
    for key in keys:
        if isinstance(key, list | tuple | set | frozenset):
            raise InvalidOption(f"{what}: {key!r} holds keys, and is none. Write {what}(*keys).")
        if not isinstance(key, str):
            raise InvalidOption(f"{what}: {key!r} is no key. Keys are texts.")
    return tuple(Key(key) for key in keys if isinstance(key, str) and is_storable(key))


def known_key(key: object, *, what: str) -> Key | None:
    """The key; None when nothing can be stored under it.

    Raises:
        InvalidOption: as above.
    """
    if type(key) is str and key.isascii():
        return Key(key)
    return next(iter(known_keys((key,), what=what)), None)


def is_storable(text: str) -> bool:
    """Whether it can be written as UTF-8: half a surrogate pair, as in the name of a file, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
