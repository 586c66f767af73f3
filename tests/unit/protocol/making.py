"""What the scripts of these tests are about: one call, its entry, its lease, and the answers of a store."""

from everfresh.matching.shapes import Shape, ShapeKind
from everfresh.model.entry import PLAIN_TERMS, Entry, Key, Lease, Recipe, State, Terms
from everfresh.model.position import Position
from everfresh.protocol.requests import Begin, Built, Call, Commit, Committed, Fail, Load, Loaded, Policy
from everfresh.testing.calls import CallByHand

NOW = 100.0
KEY = Key("f(1)")
INNER = Key("g(1)")
POLICY = Policy(lease_s=10.0, wait_timeout_s=60.0, max_attempts=3, first_retry_s=0.5, longest_retry_s=300.0)
SHAPES = (Shape(ShapeKind.ID, "article"),)


def call(policy: Policy = POLICY, *, key: Key = KEY) -> Call:
    """A call as the engine binds it."""
    return CallByHand(key=key, made=Recipe("f", b"\x80"), fingerprint="f1", shapes=SHAPES, policy=policy)


def at(sequence: int) -> Position:
    """A position in the store's one life."""
    return Position("e1", sequence)


def entry(
    state: State = State.FRESH,
    *,
    key: Key = KEY,
    good_as_of: int = 5,
    stale_since: float | None = None,
    retry_at: float | None = None,
    expires_at: float | None = None,
) -> Entry:
    """A stored value, good as of a position."""
    return Entry(
        key=key,
        function="f",
        state=state,
        version=1,
        value=b"\x01",
        digest="d1",
        position=at(good_as_of),
        changed_at=at(good_as_of),
        built_at=NOW - 50.0,
        build_s=0.5,
        stale_since=stale_since,
        retry_at=retry_at,
        expires_at=expires_at,
    )


def loaded(
    found: Entry | None = None,
    *,
    newest: int = 7,
    applied: int = 6,
    now: float = NOW,
    unsettled: tuple[Key, ...] = (),
    recipe: Recipe | None = None,
) -> Loaded:
    """The answer to a Load: the entry found, the newest position, and the sequence of the events applied last."""
    return Loaded(entry=found, position=at(newest), applied=applied, now=now, unsettled=unsettled, recipe=recipe)


def begin(*, good_from: int | None) -> Begin:
    """The request for the call's lease."""
    return Begin(
        key=KEY, recipe=Recipe("f", b"\x80"), fingerprint="f1", shapes=SHAPES, lease_s=10.0, good_from=good_from
    )


def commit(terms: Terms = PLAIN_TERMS, *, lease: Lease | None = None) -> Commit:
    """The request that stores what was built."""
    return Commit(lease=LEASE if lease is None else lease, built=BUILT, fingerprint="f1", terms=terms)


def fail(reason: str, retry_in_s: float | None, *, roll: float = 0.5, lease: Lease | None = None) -> Fail:
    """The request that ends the lease without a value."""
    held = LEASE if lease is None else lease
    return Fail(lease=held, fingerprint="f1", reason=reason, retry_in_s=retry_in_s, roll=roll)


CALL = call()
LOAD = Load(KEY, "f1")
NOTHING = loaded()
LEASE = Lease(key=KEY, token=1, begun=at(7), until=NOW + 10.0)
BUILT = Built(value=b"\x02", digest="d2", groups=(), seen=(), good_from=7, build_s=0.25)
COMMITTED = Committed(entry(good_as_of=7), is_changed=True)
