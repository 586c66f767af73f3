"""Printing: what comes from data, so that a terminal shows it and does nothing else, and one line stays one line.

Keys, reasons, topics and types are whatever users, events and errors put into them: colours, cursor movements, ends of
lines, marks that turn the direction of writing. What Python calls not printable is shown escaped, as in its own texts.
"""

from __future__ import annotations

import re

from everfresh.model.entry import Key

# What `printable` writes, and the backslash that is doubled to be told from that.
_ESCAPED = re.compile(r"\\(?:\\|[nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4})")


def printable(text: str) -> str:
    """The text with all escaped that is not simply shown; without that it is as it was."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def printable_key(key: str) -> str:
    """The key as it is printed: no other key is printed alike, and `key_printed` reads it."""
    if key.isprintable() and _ESCAPED.search(key) is None:
        return key
    return printable(key.replace("\\", "\\\\"))


def key_printed(text: str) -> Key:
    """The key that `printable_key` printed as this text."""
    return Key(_ESCAPED.sub(lambda escaped: escaped[0].encode().decode("unicode_escape"), text))
