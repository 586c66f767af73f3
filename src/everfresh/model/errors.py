"""What can go wrong, as one tree.

EverfreshError
├── InvalidEvent, InvalidDependency, InvalidPosition, InvalidOption, StoreUrlInvalid      (also ValueError)
├── ArgumentNotSupported, ValueNotSupported                                                (also TypeError)
├── NotInCache                                                                            (also KeyError)
├── BuildError
│   ├── WaitTimeout        another builder holds the entry for too long
│   ├── RecursiveBuild     a function needs, directly or not, the value that it is building
│   ├── TooManyGenerations builds publish events that lead to builds that publish events, and so on
│   └── UnknownFunction    a recipe names a function that this process does not have
└── StoreError
    ├── StoreUnavailable   the store did not answer; asking again is safe
    ├── StoreForked        the cache was made before this process was forked
    ├── StoreForeign       the file belongs to somebody else, or to a newer version
    └── StoreClosed        the cache was closed

Each has a stable `code` for programs; the message is for people: what, which, and what to do next.
"""

from __future__ import annotations

from typing import ClassVar


class EverfreshError(Exception):
    """Base of every error that Everfresh raises on purpose."""

    code: ClassVar[str] = "everfresh.error"


class InvalidEvent(EverfreshError, ValueError):
    """An event that cannot be published as it is."""

    code = "event.invalid"


class InvalidDependency(EverfreshError, ValueError):
    """A dependency that describes no event."""

    code = "dependency.invalid"


class InvalidPosition(EverfreshError, ValueError):
    """A text that is not a position."""

    code = "position.invalid"


class InvalidOption(EverfreshError, ValueError):
    """An option of the cache, or of one function, that cannot hold."""

    code = "option.invalid"


class StoreUrlInvalid(EverfreshError, ValueError):
    """A store URL that names no store."""

    code = "store.url_invalid"


class ArgumentNotSupported(EverfreshError, TypeError):
    """An argument without a canonical form, so the call has no key."""

    code = "argument.not_supported"


class ValueNotSupported(EverfreshError, TypeError):
    """A value that cannot be stored; nothing of it was."""

    code = "value.not_supported"


class NotInCache(EverfreshError, KeyError):
    """Nothing is stored under this key."""

    code = "entry.not_in_cache"

    def __str__(self) -> str:
        """The message itself; KeyError would show its repr."""
        return str(self.args[0]) if self.args else ""


class BuildError(EverfreshError):
    """A value could not be built."""

    code = "build.error"


class WaitTimeout(BuildError, TimeoutError):
    """Another builder held the entry for longer than `wait_timeout`."""

    code = "build.wait_timeout"


class RecursiveBuild(BuildError, RecursionError):
    """A function needs the value that it is building; the message prints the cycle."""

    code = "build.recursive"


class TooManyGenerations(BuildError):
    """Builds published events that led to builds that published events, too often; the message prints the chain."""

    code = "build.too_many_generations"


class UnknownFunction(BuildError, LookupError):
    """A recipe names a function that this process does not have."""

    code = "build.unknown_function"


class StoreError(EverfreshError):
    """The store could not carry out a step; the step had no effect."""

    code = "store.error"


class StoreUnavailable(StoreError):
    """The store did not answer, or cannot write; asking again is safe."""

    code = "store.unavailable"


class StoreForked(StoreError):
    """The cache was made before this process was forked."""

    code = "store.forked"


class StoreForeign(StoreError):
    """The file is not an Everfresh store, or was written by a newer version."""

    code = "store.foreign"


class StoreClosed(StoreError):
    """The cache was closed."""

    code = "store.closed"
