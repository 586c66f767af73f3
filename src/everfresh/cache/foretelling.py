"""Foretelling: which entries an event would rebuild, and why, in words for people; nothing is published."""

from __future__ import annotations

import msgspec

from everfresh.cache.cache import Cache
from everfresh.cache.drivers import BlockingDriver
from everfresh.cache.explaining import dependency_text, span
from everfresh.matching.meeting import Met
from everfresh.model.entry import Key, State
from everfresh.model.event import Event
from everfresh.protocol.foreseeing import Fate, Foreseen, Looked, foresee

_WENT = "it was there a moment ago, and its dependencies are not known any more"


class Foretold(msgspec.Struct, frozen=True, kw_only=True):
    """What an event would do to an entry, and why, fit for a terminal but for the keys.

    `fate` is `refresh`, `drop` or `suspect`; `met` are the dependencies that it meets, as they are printed. Of `inner`
    it was built, and these are dropped, or unsettled. `state` is what it is in now, `but` what may come in between.
    """

    key: Key
    function: str
    state: State | None
    fate: Fate
    met: tuple[str, ...] = ()
    inner: tuple[Key, ...] = ()
    but: str = ""


class Foreteller:
    """Asks a cache about events. What it was told of entries it keeps, so it is for one look, and not for long."""

    def __init__(self, cache: Cache) -> None:
        self._shapes = cache.engine.shapes
        self._functions = cache.engine.functions
        self._driver = BlockingDriver(cache.engine, cache.background.revalidate)
        self._looked = Looked()
        # The same few dependencies are met again and again.
        self._texts: dict[Met, str] = {}

    def foretell(self, event: Event) -> list[Foretold]:
        """What the event would do: to the entries that it touches itself, then to those built from them, each by key.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        return [self._told(one) for one in self._driver.run(foresee(event, self._shapes, self._looked))]

    def _told(self, one: Foreseen) -> Foretold:
        listed = None if one.known is None else one.known.listed
        met = tuple(self._met(found) for found in one.met)
        return Foretold(
            key=one.key,
            function="" if listed is None else listed.function,
            state=None if listed is None else listed.state,
            fate=one.fate,
            met=met if met or one.inner else (_WENT,),
            inner=one.inner,
            but=_but(one),
        )

    def _met(self, met: Met) -> str:
        text = self._texts.get(met)
        if text is None:
            text = self._texts[met] = self._met_in_words(met)
        return text

    def _met_in_words(self, met: Met) -> str:
        text = dependency_text(met.shape, met.values)
        if met.widened:
            return f"{text}: the event touches all of these, as {met.widened}"
        if not met.is_predicate:
            return text
        (name,) = met.shape.fields
        spec = self._functions.get(name)
        if spec is None or spec.should_refresh is None:
            return f"{text}: this process does not have it, which counts as yes"
        return f"{text}: it says yes"


def _but(one: Foreseen) -> str:
    """What may keep the worker from rebuilding it."""
    keep_warm_s = None if one.known is None else one.known.terms.keep_warm_s
    if one.fate is not Fate.REFRESH or keep_warm_s is None:
        return ""
    return f"dropped instead if nobody has read it for {span(keep_warm_s)}"
