"""Which entries events would touch, as assertions that explain themselves; nothing is published or built.

Entries are named by their keys: `title.key(1)` for a call of the cached function `title`, the key itself for a value
that was put. An entry that is not in the cache cannot be touched, and what is said of it would hold of anything; so the
test has to build it first, and is told so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from everfresh.cache.cache import Cache
from everfresh.cache.drivers import BlockingDriver
from everfresh.cache.explaining import Explanation
from everfresh.matching.triage import Widening
from everfresh.model.entry import Key
from everfresh.model.errors import NotInCache
from everfresh.model.event import Event
from everfresh.protocol import publishing

Keys = str | Iterable[str]
Events = Event | Iterable[Event]

# Of a body people need to see what it is about.
_MAX_BODY = 200
_MAX_DEPENDENCIES = 10


class AssertTouches:
    """Asserts that events touch exactly the entries that are named."""

    def __init__(self, cache: Cache) -> None:
        self._looking = _Looking(cache)

    def __call__(self, events: Events, calls: Keys) -> None:
        """The events, one or several, touch these entries and no other: `assert_touches(event, [title.key(1)])`.

        Meant is what they touch by itself. An entry that was built from a touched one is not to be named: whether it is
        built again depends on whether the value of the inner one changes.

        Raises:
            AssertionError: an entry is missing, or touched without being named; the message says of each what it
                depends on. No entry is named, and none is in the cache.
        """
        __tracebackhide__ = True
        touch = self._looking.touch(events)
        expected = _keys(calls)
        if not expected:
            self._looking.check_not_empty("assert_touches")
        missing = [key for key in expected if key not in touch.keys]
        surplus = [key for key in touch.keys if key not in expected]
        if not (missing or surplus):
            return
        lines = [f"{_list_of(touch.events)} should touch exactly what is expected."]
        if missing:
            lines += ["expected, but not touched:", *self._looking.of_missing(missing, touch)]
        if surplus:
            lines += ["touched, but not expected:", *self._looking.of_touched(surplus, touch)]
        rest = [key for key in expected if key not in missing]
        lines += ["touched as expected:", *(f"  {key}" for key in rest)] if rest else []
        raise AssertionError("\n".join(lines))


class AssertUntouched:
    """Asserts that events leave entries alone."""

    def __init__(self, cache: Cache) -> None:
        self._looking = _Looking(cache)

    def __call__(self, events: Events, calls: Keys | None = None) -> None:
        """The events, one or several, leave these entries alone; without `calls`, every entry of the cache.

        An entry that was built from a touched one, directly or not, is not left alone: readers wait until it is known
        whether the inner value changed.

        Raises:
            AssertionError: an entry is touched, or is not in the cache; the message says what each depends on. None is
                in the cache at all.
        """
        __tracebackhide__ = True
        touch = self._looking.touch(events)
        if calls is None:
            self._looking.check_not_empty("assert_untouched")
        named = touch.keys if calls is None else _keys(calls)
        if calls is not None and not named:
            raise AssertionError("assert_untouched: no call is named, so this would hold of any event. Name some.")
        reached = [key for key in named if key in touch.keys]
        rest = [key for key in named if key not in touch.keys]
        doubtful = [line for key in rest for line in self._looking.doubts_of(key, touch)]
        if not (reached or doubtful):
            return
        lines = [f"{_list_of(touch.events)} should leave alone what is named."]
        lines += ["touched:", *self._looking.of_touched(reached, touch)] if reached else []
        lines += ["not known to be left alone:", *doubtful] if doubtful else []
        raise AssertionError("\n".join(lines))


@dataclass(frozen=True, slots=True)
class _Touch:
    """What events would touch by themselves, and the dependencies that they touch as a whole."""

    events: tuple[Event, ...]
    keys: tuple[Key, ...]
    widened: tuple[Widening, ...]


class _Looking:
    """Asks the cache, and says for people what it found."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._driver = BlockingDriver(cache.engine, cache.background.revalidate)

    def touch(self, events: Events) -> _Touch:
        """What the events would touch."""
        listed = (events,) if isinstance(events, Event) else tuple(events)
        if not listed:
            raise AssertionError("no event is given, so nothing can be touched. Give one or several.")
        published = self._driver.run(publishing.publish(listed, self._cache.engine.shapes, is_dry=True))
        return _Touch(listed, tuple(sorted(published.applied.touched)), published.widened)

    def check_not_empty(self, what: str) -> None:
        """Refuse to say anything of a cache in which nothing was built."""
        if not self._cache.blocking.coverage().n_built:
            msg = (
                f"{what}: the cache is empty, so this would hold of any event. Build first what it should leave alone."
            )
            raise AssertionError(msg)

    def of_touched(self, keys: Sequence[str], touch: _Touch) -> list[str]:
        """What touched entries depend on, and what was touched because an event does not say enough."""
        lines = [line for key in keys for line in self._described(key, touch)]
        return [*lines, *(f"  (as a whole: {one.shape}: {one.reason})" for one in touch.widened)]

    def of_missing(self, keys: Sequence[str], touch: _Touch) -> list[str]:
        """Why entries may not be touched."""
        return [line for key in keys for line in self._described(key, touch)]

    def doubts_of(self, key: str, touch: _Touch) -> list[str]:
        """Why an entry that is not touched by itself cannot be said to be left alone; nothing if it can."""
        found = self._explained(key)
        return self._described(key, touch) if found is None or self._way_to(found, touch) else []

    def _described(self, key: str, touch: _Touch) -> list[str]:
        found = self._explained(key)
        if found is None:
            return [f"  {key}", "    is not in the cache. Build it, or put it, before you say what touches it."]
        return [f"  {key}", *self._dependencies_of(found), *(f"    {line}" for line in self._way_to(found, touch))]

    def _dependencies_of(self, found: Explanation) -> list[str]:
        shown = [f"      {text}" for text in found.dependencies[:_MAX_DEPENDENCIES]]
        n_more = len(found.dependencies) - len(shown)
        more = [f"      and {n_more} more"] if n_more > 0 else []
        return ["    depends on:", *shown, *more] if shown else ["    depends on nothing"]

    def _way_to(self, found: Explanation, touch: _Touch) -> list[str]:
        """How an entry that is not touched was built, directly or not, from one that is."""
        if found.key in touch.keys:
            return []
        ways = [(key, found.key) for key in found.built_from]
        seen: dict[str, str] = {}
        while ways:
            key, outer = ways.pop(0)
            if key in seen:
                continue
            seen[key] = outer
            if key in touch.keys:
                return [f"was built from {' from '.join(_chain(key, found.key, seen))}, which is touched"]
            inner = self._explained(key)
            ways += [(below, key) for below in (() if inner is None else inner.built_from)]
        return []

    def _explained(self, key: str) -> Explanation | None:
        try:
            return self._cache.blocking.explain(key)
        except NotInCache:
            return None


def _chain(inner: str, outer: str, outer_of: dict[str, str]) -> list[str]:
    """The keys on the way from an outer entry, left out, to an inner one."""
    keys = [inner]
    while outer_of[keys[0]] != outer:
        keys.insert(0, outer_of[keys[0]])
    return keys


def _keys(calls: Keys) -> tuple[str, ...]:
    """Each key once; a text is one key."""
    # Whoever writes tests without types meets the error here, and not in the store.
    listed: list[object] = [calls] if isinstance(calls, str) else list(calls)
    for key in listed:
        if not isinstance(key, str):
            raise TypeError(f"{key!r} is no key. Write function.key(arguments), or the key of a value that was put.")
    return tuple(sorted({str(key) for key in listed}))


def _list_of(events: Sequence[Event]) -> str:
    return "\n".join(_shown(event) for event in events)


def _shown(event: Event) -> str:
    body = repr(dict(event.body)) if event.body else ""
    if len(body) > _MAX_BODY:
        body = f"{body[:_MAX_BODY]}..."
    return f"{publishing.text_of(event)} {body}".rstrip()
