"""Readers against a world that answers whatever it may, in any order."""

from dataclasses import replace
from math import inf
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from everfresh.model.entry import Entry, Lease, State
from everfresh.model.errors import WaitTimeout
from everfresh.protocol.reading import is_settled, read, rebuild
from everfresh.protocol.requests import (
    Begin,
    Bounds,
    Bring,
    Build,
    Busy,
    Commit,
    Committed,
    Fail,
    GiveUp,
    Load,
    Loaded,
    NotNeeded,
    Overtaken,
    Request,
    Resolve,
    Revalidate,
    Roll,
    Steps,
    Wait,
)
from tests.unit.protocol.making import BUILT, CALL, INNER, KEY, LEASE, NOW, at, call, entry, loaded

N_STEPS_MAX = 40


class Down(Exception):
    """What the function raises."""


ANSWERS_TO: dict[type[Request[Any]], list[object]] = {
    Build: [BUILT, replace(BUILT, is_makeshift=True), Down("down"), KeyboardInterrupt()],
    Wait: [None, Down("down")],
    Bring: [None, Down("down")],
    Resolve: [None, call(key=INNER)],
    Revalidate: [None],
    GiveUp: [None],
}


class World:
    """Answers as any store and any driver might, and remembers what it answered."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        self.requests: list[Request[Any]] = []
        self.leases: list[Lease] = []
        self.last_loaded = loaded()
        self.first_loaded: Loaded | None = None
        self._built: Entry | None = None
        self._now = NOW
        self._newest = 7

    def answer(self, request: Request[Any]) -> object:
        """What the request is answered; an exception is meant to be raised at the request."""
        self.requests.append(request)
        match request:
            case Load() | Fail():
                return self._load()
            case Begin():
                return self._begin()
            case Commit():
                return self._commit(request)
            case Roll():
                return self._data.draw(st.floats(0.0, 1.0))
            case Wait(timeout_s=timeout_s):
                self._now += self._one_of([0.0, timeout_s])
            case _:
                pass
        return self._one_of(ANSWERS_TO[type(request)])

    def has_built(self, given_back: Entry) -> bool:
        """Whether it is what the reader itself built, stored or not."""
        return given_back is self._built or given_back.version == 0

    def _one_of(self, answers: list[Any]) -> Any:  # noqa: ANN401 - answers are of any type
        return self._data.draw(st.sampled_from(answers))

    def _load(self) -> Loaded:
        self._newest += self._one_of([0, 1])
        found = self._one_of(
            [
                None,
                entry(good_as_of=self._newest),
                entry(good_as_of=4, expires_at=NOW + 5.0),
                *[
                    entry(state, good_as_of=good_as_of, stale_since=self._now - 10.0, retry_at=retry_at)
                    for state in (State.SUSPECT, State.DIRTY, State.FAILED)
                    for good_as_of in (4, 7)
                    for retry_at in (None, self._now + 5.0)
                ],
            ]
        )
        self.last_loaded = loaded(
            found,
            newest=self._newest,
            now=self._now,
            unsettled=self._one_of([(), (INNER,)]),
            recipe=self._one_of([None, CALL.recipe]),
        )
        self.first_loaded = self.last_loaded if self.first_loaded is None else self.first_loaded
        return self.last_loaded

    def _begin(self) -> object:
        answer = self._one_of([LEASE, NotNeeded(), Busy(self._now, self._now + 8.0), Busy(self._now, self._now)])
        if isinstance(answer, Lease):
            self.leases.append(answer)
        return answer

    def _commit(self, request: Commit) -> Committed | Overtaken:
        self._built = entry(State.DIRTY, good_as_of=request.lease.begun.sequence, stale_since=self._now)
        return self._one_of([Committed(self._built, is_changed=True), Overtaken(at(self._newest), self._now)])


def play(steps: Steps[Entry], world: World) -> Entry | BaseException | None:
    """Play to the end: what was given or raised, None when it went on for ever."""
    try:
        request = next(steps)
        for _ in range(N_STEPS_MAX):
            answer = world.answer(request)
            request = steps.throw(answer) if isinstance(answer, BaseException) else steps.send(answer)
    except StopIteration as stop:
        given: Entry = stop.value
        return given
    except (Down, KeyboardInterrupt, WaitTimeout) as error:
        return error
    steps.close()
    return None


SECONDS = st.sampled_from([0.0, 11.0, inf])
BOUNDS = st.builds(Bounds, stale_while_revalidate_s=SECONDS, stale_if_error_s=SECONDS)


@given(st.data(), BOUNDS, st.booleans())
def test_a_lease_that_was_taken_is_ended_whatever_happens(
    data: st.DataObject, bounds: Bounds, is_rebuild: bool
) -> None:
    """Each lease is built under and then ended, once."""
    world = World(data)

    outcome = play(rebuild(CALL) if is_rebuild else read(CALL, bounds), world)

    event(type(outcome).__name__)
    n_builds = sum(isinstance(request, Build) for request in world.requests)
    n_ended = sum(isinstance(request, Commit | Fail | GiveUp) for request in world.requests)
    assert len(world.leases) == n_builds == n_ended <= 1


@given(st.data(), BOUNDS)
def test_whatever_a_reader_is_served_is_good_enough(data: st.DataObject, bounds: Bounds) -> None:
    """Settled, or built from a position not below that of its arrival, or within its bounds."""
    world = World(data)

    served = play(read(CALL, bounds), world)

    if isinstance(served, Entry):
        assert world.first_loaded is not None
        assert served.key == KEY
        assert (
            is_settled(served, world.last_loaded.now)
            or served.position.sequence >= world.first_loaded.position.sequence
            or world.has_built(served)
            or max(bounds.stale_while_revalidate_s, bounds.stale_if_error_s) > 10.0
        )


@given(st.data())
def test_a_rebuild_never_gives_what_was_built_before_it_was_asked_for(data: st.DataObject) -> None:
    """Its own build began after, and it takes another's only if that did too."""
    world = World(data)

    given_back = play(rebuild(CALL), world)

    if isinstance(given_back, Entry):
        assert world.first_loaded is not None
        assert (
            world.has_built(given_back)
            or given_back.position.sequence >= world.first_loaded.position.sequence
            or is_settled(given_back, world.last_loaded.now)
        )
