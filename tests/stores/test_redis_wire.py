"""What travels between the store and its scripts, held against requests and answers by hand."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh.matching.index import Generation
from everfresh.matching.probes import Probe
from everfresh.matching.shapes import (
    CALL_SHAPE,
    TAG_SHAPE,
    Bucket,
    Group,
    Shape,
    ShapeId,
    ShapeKind,
    bucket_of,
    call_bucket,
    grouped,
    predicate_shape,
    shape_and_values,
)
from everfresh.matching.triage import Touched
from everfresh.model import dependency as dep
from everfresh.model.conditions import lt
from everfresh.model.entry import Entry, FeedRecord, Key, Kind, Lease, OnChange, Recipe, State, Terms
from everfresh.model.event import Event
from everfresh.model.message import Message
from everfresh.model.position import Position
from everfresh.protocol.acknowledging import Behind
from everfresh.protocol.applying import Applied, Apply, Candidate, Candidates, Mention, ShapesMoved
from everfresh.protocol.inspecting import Count, Counted, Explain, Explained, Listed, ListEntries
from everfresh.protocol.queueing import Distrust, Due, Enqueue, Note, Retry, TakeDue, TookDue
from everfresh.protocol.requests import (
    Begin,
    Built,
    Busy,
    Commit,
    Committed,
    Delete,
    Extend,
    Fail,
    FeedBatch,
    GiveUp,
    Limit,
    Load,
    Loaded,
    LoadMany,
    NotNeeded,
    Overtaken,
    Put,
    ReadFeed,
    Register,
    Request,
    Seen,
)
from everfresh.protocol.sourcing import Offset, Report, Tell, Unreadable
from everfresh.stores.redis.applying import ApplyFirst, Item, Left, Touch
from everfresh.stores.redis.chunks import (
    CHUNKED,
    DistrustBegin,
    DistrustEnd,
    DistrustRows,
    DistrustScan,
    Scan,
    Scanned,
    Sifted,
    distrust,
)
from everfresh.stores.redis.coldest import Cold, Coldest
from everfresh.stores.redis.following import SUBSCRIPTION_LEASE_S, Follow
from everfresh.stores.redis.pacing import Pace, Place, Placed
from everfresh.stores.redis.sourcing import (
    N_READ,
    ForgetSome,
    KeepOffsets,
    QuarantineSome,
    ReadAfter,
    ReadIds,
    ReadSome,
    ReleaseSome,
)
from everfresh.stores.redis.wire import Decoded, decode, encode, mutates
from everfresh.stores.redis.wire_groups import as_text
from everfresh.stores.store import STEPS, is_reading

HEAD = [None, "", 0, "epoch", None, None, True, {}]
KEY = Key("book[7] é")
RECIPE = Recipe("book", b"\xff\x00arguments")
BEGUN = Position("e1", 41)
LEASE = Lease(key=KEY, token=9, begun=BEGUN, until=70.5, begun_at=60.5, attempts=2, cause=("a", "b"))
ID, TAG, CALL = (shape_and_values(one) for one in (dep.Id("book", 7), dep.Tag("news"), dep.Call("inner")))
FILTERED = shape_and_values(dep.Scope("book", {"genre": "sf", "price": lt(9)}))
JUDGE = predicate_shape("book.*", "book")
GROUPS = (*grouped([ID, TAG, CALL, FILTERED]), Group(JUDGE, ((),)))
BUILT = Built(
    value=b"\xc0value",
    digest="d1",
    groups=GROUPS,
    seen=(Seen(Key("inner"), "d0"), Seen(Key("gone"), "")),
    good_from=40,
    build_s=0.25,
    expires_at=99.5,
    is_awaited=False,
)


# ---------------------------------------------------------------------------- as Lua reads and writes what travels


class _AsLua:
    """Reads msgpack as the server's Lua does: texts and bytes are one, and there are no binary strings."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def read(self) -> Any:  # noqa: ANN401 - whatever it is
        code = self._take(1)[0]
        if code < 0x80 or code >= 0xE0:
            return code if code < 0x80 else code - 256
        if code < 0x90:
            return self._map(code & 0x0F)
        if code < 0xA0:
            return self._array(code & 0x0F)
        if code < 0xC0:
            return self._take(code & 0x1F)
        return self._readers[code](self)

    def read_all(self) -> list[Any]:
        found: list[Any] = []
        while self._place < len(self._data):
            found.append(self.read())
        return found

    def _take(self, n: int) -> bytes:
        self._place += n
        assert self._place <= len(self._data)
        return self._data[self._place - n : self._place]

    def _number(self, form: str) -> Any:  # noqa: ANN401 - whole or not
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _array(self, n: int) -> list[Any]:
        return [self.read() for _ in range(n)]

    def _map(self, n: int) -> dict[str, Any]:
        pairs = [(self.read().decode(), self.read()) for _ in range(n)]
        return {name: value for name, value in pairs if value is not None}

    _readers: dict[int, Callable[[_AsLua], Any]] = {  # noqa: RUF012 - never changed
        0xC0: lambda _: None,
        0xC2: lambda _: False,
        0xC3: lambda _: True,
        0xCB: lambda self: self._number(">d"),
        **{0xCC + n: lambda self, form=form: self._number(form) for n, form in enumerate((">B", ">H", ">I", ">Q"))},
        **{0xD0 + n: lambda self, form=form: self._number(form) for n, form in enumerate((">b", ">h", ">i", ">q"))},
        **{
            0xD9 + n: lambda self, form=form: self._take(self._number(form))
            for n, form in enumerate((">B", ">H", ">I"))
        },
        0xDC: lambda self: self._array(self._number(">H")),
        0xDE: lambda self: self._map(self._number(">H")),
    }


def _sent(request: Request[Any]) -> dict[str, Any]:
    """The request's fields, as Lua reads them, without the head."""
    fields: dict[str, Any] = _AsLua(encode(request, HEAD).packed).read()
    return fields


def _committed(commit: Commit) -> list[Any]:
    """What travels behind a commit's value."""
    return _AsLua(encode(commit, HEAD).blobs[1]).read_all()


def _packed_by_lua(value: object) -> bytes:
    return msgspec.msgpack.encode(_as_in_lua(value))


def _as_in_lua(value: Any) -> Any:  # noqa: ANN401 - whatever it is
    """With whole numbers where they are whole, and arrays where nothing is in a table."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {name: _as_in_lua(one) for name, one in value.items()} or []
        case list() | tuple():
            return [_as_in_lua(one) for one in value]
        case _:
            return value


def _answer(request: Request[Any], answer: object, *blobs: bytes) -> Any:  # noqa: ANN401 - of whatever type
    decoded = decode(request, [_packed_by_lua([answer]), *blobs])
    assert decoded.records == ()
    assert not decoded.is_new_life
    return decoded.answer


# ------------------------------------------------------------------------------------------------------ requests


@pytest.mark.parametrize("n_bytes", [0, 1, 31, 32, 255, 256, 65_535, 65_536])
def test_bytes_travel_as_texts_of_any_length(n_bytes: int) -> None:
    """Lua reads no binary strings, so bytes are sent as texts."""
    data = bytes(number % 256 for number in range(n_bytes))

    packed = msgspec.msgpack.encode(as_text(data))

    # The longest form is the only one that the reader above does not need otherwise.
    assert _AsLua(packed).read() == data


@given(st.binary(max_size=300))
def test_bytes_come_back_as_they_were(data: bytes) -> None:
    """Arguments and events are any bytes."""
    assert _AsLua(msgspec.msgpack.encode(as_text(data))).read() == data


def test_the_head_is_sent_as_it_is_given() -> None:
    """What every script is told stands behind the request, one value after the other."""
    packed = encode(Load(KEY), [5.5, "slot", 3, "epoch", 10, None, False, {"a": 1.5}]).packed

    assert _AsLua(packed).read_all()[1:] == [5.5, b"slot", 3, b"epoch", 10, None, False, {"a": 1.5}]


@pytest.mark.parametrize("request_type", [*STEPS, Scan, DistrustBegin, DistrustScan, DistrustRows, Follow, Coldest])
def test_every_request_travels_or_goes_in_chunks(request_type: type[Request[Any]]) -> None:
    """No request is forgotten when one is added."""
    assert (request_type in CHUNKED) or any(type(one) is request_type for one in ONE_OF_EACH)


def test_what_reads_is_known() -> None:
    """A reading step is not repeated by number; here and where steps are listed it is the same."""
    in_steps = [one for one in ONE_OF_EACH if type(one) in STEPS]

    assert [mutates(one) for one in in_steps] == [not is_reading(one) for one in in_steps]


def test_a_dry_run_reads() -> None:
    """With `is_dry` nothing changes."""
    assert not mutates(msgspec.structs.replace(APPLY, is_dry=True))
    assert encode(APPLY, HEAD).is_mutating


def test_values_travel_beside_the_request() -> None:
    """They may be large, and Lua need not look into them."""
    assert encode(COMMIT, HEAD).blobs[:1] == (BUILT.value,)
    assert encode(PUT, HEAD).blobs == (PUT.value,)
    assert encode(Load(KEY), HEAD).blobs == ()


def test_a_load_names_key_and_fingerprint() -> None:
    """Without a fingerprint, any will do."""
    assert _sent(Load(KEY, "f1")) == {"key": KEY.encode(), "fingerprint": b"f1"}
    assert _sent(Load(KEY)) == {"key": KEY.encode()}
    assert _sent(LoadMany((KEY,), "f1")) == {"keys": [KEY.encode()], "fingerprint": b"f1"}


def test_half_a_surrogate_pair_is_refused() -> None:
    """It has no UTF-8, so no store keeps it."""
    with pytest.raises(UnicodeEncodeError):
        encode(Load(Key("\ud800")), HEAD)


def test_a_begin_carries_what_a_new_entry_needs() -> None:
    """Its own bucket, recipe, terms, shapes to register and the buckets of predicates."""
    request = Begin(
        key=KEY,
        recipe=RECIPE,
        fingerprint="f1",
        shapes=(ID[0], TAG_SHAPE, JUDGE),
        lease_s=10.0,
        good_from=None,
        terms=Terms(on_change=OnChange.DROP, settle_s=(1.0, 2.5)),
        watched=(Group(JUDGE, ((),)),),
    )

    sent = _sent(request)

    watched, shapes = sent.pop("watched"), _AsLua(sent.pop("shapes")).read()
    assert sent == {
        "key": KEY.encode(),
        "call": call_bucket(KEY),
        "func": b"book",
        "args": RECIPE.arguments,
        "fingerprint": b"f1",
        "ids": ID[0].id + JUDGE.id,
        "lease_s": 10.0,
        "terms": {"on_change": b"drop", "settle_s": [1.0, 2.5]},
    }
    assert [shape["s"] for shape in shapes] == [ID[0].id, JUDGE.id]
    assert [shape.get("p") for shape in shapes] == [None, True]
    assert [_shape_of(shape["blob"]) for shape in shapes] == [ID[0], JUDGE]
    assert [(group["s"], group["b"], group["p"]) for group in watched] == [(JUDGE.id, [bucket_of(JUDGE.id, ())], True)]


def test_a_commit_carries_lease_and_build() -> None:
    """All that the step asks of them, in the order in which it takes them; the value travels by itself."""
    sent = _committed(COMMIT)

    assert _sent(COMMIT) == {"key": KEY.encode()}
    assert sent[:17] == [
        9,
        b"e1",
        60.5,
        2,
        [b"a", b"b"],
        b"d1",
        40,
        0.25,
        99.5,
        False,
        False,
        False,
        b"f1",
        {},
        1.5,
        b"host",
        [[b"inner", b"d0"], [b"gone", b""]],
    ]


def test_a_commit_carries_what_its_script_looks_up() -> None:
    """The marks of plain dependencies come as one text, and its groups and shapes are as they are kept."""
    plain = grouped([ID, TAG, CALL])
    commit = Commit(lease=LEASE, built=replace(BUILT, groups=plain), fingerprint="f1")

    groups, shapes, ids, marks, places = _committed(commit)[17:]

    assert ids == ID[0].id
    assert places is None
    assert _AsLua(marks).read_all() == [one for group in plain for one in (group.shape.id, *group.buckets())]
    assert [group[:2] for group in _AsLua(groups).read()] == [
        [group.shape.id, b"".join(bucket[8:] for bucket in group.buckets())] for group in plain
    ]
    assert [_shape_of(blob) for blob, _ in _AsLua(shapes).read()] == [group.shape for group in plain]


def test_a_commit_names_the_places_of_its_buckets() -> None:
    """Of each bucket its shape, its part as bytes, the rest, and the part in digits; if all shapes are registered."""
    groups = grouped([ID, (ID[0], ("8",))])
    commit = Commit(lease=LEASE, built=replace(BUILT, groups=groups), fingerprint="f1")

    places = _AsLua(_committed(commit)[21]).read_all()

    buckets = [bucket for group in groups for bucket in group.buckets()]
    assert len(buckets) == 2
    assert len(places) == 4 * len(buckets)
    for number, bucket in enumerate(buckets):
        shape, part, rest, digits = places[4 * number : 4 * number + 4]
        assert int(digits) == int.from_bytes(part, "big") < 16_384
        assert shape + bytes([int(digits) // 64]) + rest == bucket


@pytest.mark.parametrize("parts", [[FILTERED], [(JUDGE, ())], [(ID[0], (str(number),)) for number in range(200)]])
def test_dependencies_of_which_more_is_to_be_looked_at_are_no_marks(parts: list[tuple[Shape, tuple[str, ...]]]) -> None:
    """Conditions, functions that judge, and more than go as arguments of one function."""
    commit = Commit(lease=LEASE, built=replace(BUILT, groups=grouped(parts)), fingerprint="f1")

    assert _committed(commit)[20:] == [None, None]


def test_a_commit_without_dependencies_has_no_groups() -> None:
    """As a row without any is kept."""
    commit = Commit(lease=LEASE, built=replace(BUILT, groups=(), seen=()), fingerprint="f1")

    assert _committed(commit)[16:] == [None, None, b"\x90", b"", b"", b""]


def test_other_ends_of_a_lease_carry_it() -> None:
    """Whoever ends a lease, or renews it, shows it."""
    fail = Fail(lease=LEASE, fingerprint=None, reason="broken", retry_in_s=None, roll=0.5, is_shared=True)

    assert _sent(fail) == {"lease": _LEASE_SENT, "reason": b"broken", "roll": 0.5, "is_shared": True}
    assert _sent(GiveUp(LEASE)) == {"lease": _LEASE_SENT}
    assert _sent(Extend((LEASE,), 5.0)) == {"leases": [_LEASE_SENT], "lease_s": 5.0}


def test_a_group_carries_what_lua_cannot_compute() -> None:
    """Buckets are hashes; equal groups have equal values, encoded; tags and calls are not registered."""
    by_shape = {group["s"]: group for group in _sent(PUT)["groups"]}

    for group in GROUPS:
        sent = by_shape[group.shape.id]
        assert sent["b"] == group.buckets()
        assert msgspec.msgpack.decode(sent["v"], type=tuple[tuple[str, ...], ...]) == group.values
        assert _shape_of(sent["blob"]) == group.shape
        assert sent.get("r", False) == (group.shape not in (TAG_SHAPE, CALL_SHAPE))
        assert sent.get("p", False) == (group.shape == JUDGE)
    assert by_shape[CALL_SHAPE.id]["k"] == [b"inner"]
    assert all("k" not in sent for shape_id, sent in by_shape.items() if shape_id != CALL_SHAPE.id)


@given(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 99)), min_size=1, max_size=5, unique=True))
def test_a_filtered_group_has_stems_and_operands_beside_its_buckets(lists: list[tuple[str, int]]) -> None:
    """Who stands in a stem is found by it, and the operands decide."""
    parts = [shape_and_values(dep.Scope("book", {"genre": genre, "price": lt(price)})) for genre, price in lists]
    (group,) = grouped(parts)

    sent = _sent(Put(key=KEY, value=b"", digest="", groups=(group,), fence=None, expires_s=None))["groups"][0]

    beside = [
        (bucket, stem, tuple(operand.decode() for operand in operands))
        for bucket, stem, operands in zip(sent["b"], sent["t"], sent["o"], strict=True)
    ]
    assert beside == group.filtered()


def test_the_queue_is_asked_in_order() -> None:
    """Functions and recipes go by their order, which Lua's tables do not have."""
    take = TakeDue({"b": Limit(), "a": Limit(2, 0.5)}, 10, 5.0)
    enqueue = Enqueue({Key("b"): RECIPE, Key("a"): RECIPE}, Terms(priority=3))

    assert _sent(take) == {"functions": [[b"b", None, None], [b"a", 2, 0.5]], "n_max": 10, "lease_s": 5.0}
    assert _sent(enqueue) == {
        "recipes": [[key.encode(), call_bucket(key), b"book", RECIPE.arguments] for key in ("b", "a")],
        "terms": {"priority": 3},
    }
    assert _sent(Retry((KEY,))) == {"keys": [KEY.encode()]}
    assert _sent(Note({KEY: 1.5}, {})) == {"reads": {KEY: 1.5}, "watched": {}}


def test_an_apply_carries_all_that_events_touch() -> None:
    """Numbers of events are from 0, as they stand in `mentions`."""
    sent = _sent(APPLY)

    assert sent.pop("probes") == [
        {
            "stem": b"\xffstem",
            "event": 1,
            "operators": [b"lt"],
            "before": [[b"n5"]],
            "is_any": False,
            "steady": [False],
        }
    ]
    assert [put["fence_sequence"] for put in sent["puts"]] == [41]
    assert [put["fence_epoch"] for put in sent["puts"]] == [b"e1"]
    assert [put["key"] for put in sent["puts"]] == [KEY.encode()]
    assert [len(put["groups"]) for put in sent.pop("puts")] == [len(GROUPS)]
    assert sent == {
        "buckets": [[b"\xffbucket", 0]],
        "shapes": [[b"\xffshape", 1]],
        "predicates": [[b"\xffjudge", [0, 1]]],
        "spared": [[b"\xffjudge", [KEY.encode()]]],
        "epoch": b"e1",
        "n_shapes": 4,
        "mentions": [[b"book.update", b"\xffbook.update"], [b"by name", None]],
        "cause": [b"c"],
        "is_dry": False,
    }


def test_what_was_left_carries_its_own_mentions_alone() -> None:
    """They are numbered anew: of all events, few may be left."""
    sent = _sent(Touch((Item("key", KEY, 1), Item("bucket", b"\xffb", 1, "7")), BEGUN, APPLY))

    assert sent == {
        "items": [[b"key", KEY.encode(), 0, None], [b"bucket", b"\xffb", 0, b"7"]],
        "epoch": b"e1",
        "sequence": 41,
        "mentions": [[b"by name", None]],
        "cause": [b"c"],
    }


def test_without_an_encoder_no_event_travels() -> None:
    """Nobody said how entries are to keep it."""
    request = msgspec.structs.replace(APPLY, encode=None)

    assert _sent(request)["mentions"][0] == [b"book.update", None]


def test_most_events_say_nothing_of_sources() -> None:
    """They cost nothing more."""
    assert {"offsets", "per_s"} & _sent(APPLY).keys() == set()
    assert {"offsets", "per_s", "n_before"} & _sent(Touch((), BEGUN, APPLY, 7, is_last=True)).keys() == set()


def test_the_last_step_of_an_event_carries_the_offsets() -> None:
    """Of two of one source the last stands. All steps carry the pace, and how many were before."""
    offsets = (Offset("bus", "5"), Offset("rows", "1"), Offset("bus", "6"))
    request = msgspec.structs.replace(APPLY, offsets=offsets, per_s=2.5)

    assert _sent(request)["offsets"] == [[b"bus", b"6"], [b"rows", b"1"]]
    assert _sent(request)["per_s"] == 2.5
    assert _sent(Touch((), BEGUN, request, 7, is_last=True))["offsets"] == [[b"bus", b"6"], [b"rows", b"1"]]
    assert "offsets" not in _sent(Touch((), BEGUN, request, 7))
    assert (_sent(Touch((), BEGUN, request, 7))["per_s"], _sent(Touch((), BEGUN, request, 7))["n_before"]) == (2.5, 7)


def test_what_sources_say_is_packed_by_python() -> None:
    """The scripts keep reports and messages as they are."""
    told, kept = _sent(Tell(REPORT)), _sent(QuarantineSome((UNREADABLE,), 5, 5_000))["messages"][0]

    assert msgspec.msgpack.decode(told.pop("report"), type=Report) == REPORT
    assert told == {"source": b"bus", "consumer": b"host:1"}
    assert (kept[:2], kept[3:]) == ([b"1", b"bus"], [None])
    assert msgspec.msgpack.decode(kept[2], type=Unreadable) == msgspec.structs.replace(UNREADABLE, at=0.0)
    assert _sent(QuarantineSome((UNREADABLE,), 5, 5_000, keeps_at=True))["messages"][0][3] == 60.5


def test_what_sources_ask_is_bounded() -> None:
    """Each step looks at so many."""
    assert _sent(ReadSome(None, b"\xff")) == {"after": b"\xff", "n": N_READ}
    assert _sent(ReadSome(("bus",))) == {"names": [b"bus"], "after": b"", "n": N_READ}
    assert _sent(ReadAfter(3, None)) == {"after": 3, "n": N_READ}
    assert _sent(ReadIds(("1",))) == {"ids": [b"1"]}
    assert _sent(Pace(((KEY, 60.5, 61.5),))) == {"places": [[KEY.encode(), 60.5, 61.5]]}


def test_what_is_known_of_sources_is_read_as_far_as_it_makes_sense() -> None:
    """Nothing that somebody's hand has left there raises."""
    good = [msgspec.msgpack.encode(one) for one in (REPORT, UNREADABLE)]
    sources = [[1, 2, [[60, 3], [61, 5]], 0], [4, 2, [], 0], [6, 5, [], 0], [6, None, [], 2]]

    found = _answer(ReadSome(None), [62, sources, False], b"bus", b"5", good[0], b"\xff", b"\xc1\xff", b"rows")
    messages = _answer(ReadAfter(0, None), [[[1, 70, 1], [2, 71, 2]], 2, True], good[1], b"\xc1")

    assert [(one.source, one.offset, one.n_quarantined) for one in found.states] == [("bus", "5", 0), ("rows", None, 2)]
    assert [(one.report, one.at) for one in found.states[0].reports] == [(REPORT, 60.0)]
    assert (found.now, found.last, found.is_end) == (62.0, b"rows", False)
    assert messages.messages == ((msgspec.structs.replace(UNREADABLE, at=70.0, place=1), len(good[1])),)


def test_places_come_with_what_was_applied() -> None:
    """When there is a pace."""
    place = [KEY, -1, -60.5, 62, 60.5, None]

    begun = _answer(ApplyFirst(APPLY), ["applied", "e1", 5, [KEY], [], [], None, 60, [place]])

    assert begun.placed == Placed(60.0, (Place(KEY, -1.0, -60.5, 62.0, 60.5, None),))
    assert _answer(ApplyFirst(APPLY), ["applied", "e1", 5, [KEY], [], [], None]).placed is None


def test_what_a_step_has_left_is_read() -> None:
    """The names of buckets stand one behind the other in bytes of their own."""
    left = [3, "17", [1, 4], [KEY]]

    begun = _answer(Touch((), BEGUN, APPLY), ["applied", "e1", 5, [], [], [], left], b"\xffaaa\xffbbb")

    assert begun.left == Left(3, "17", (Bucket(b"\xffaaa"), Bucket(b"\xffbbb")), (KEY,))
    assert _answer(Touch((), BEGUN, APPLY), ["applied", "e1", 5, [], [], [], None]).left is None


def test_a_put_carries_its_own_bucket_and_fence() -> None:
    """Without a fence, no event outruns it."""
    sent = _sent(PUT)
    del sent["groups"]

    assert sent == {
        "key": KEY.encode(),
        "call": call_bucket(KEY),
        "digest": b"d1",
        "fence_epoch": b"e1",
        "fence_sequence": 41,
        "expires_s": 30.0,
    }
    assert _sent(Put(key=KEY, value=b"", digest="", groups=(), fence=None, expires_s=None)) == {
        "key": KEY.encode(),
        "call": call_bucket(KEY),
        "digest": b"",
        "groups": [],
    }


def test_questions_carry_what_they_ask() -> None:
    """What is None is not there."""
    assert _sent(Candidates((Bucket(b"\xff"),))) == {"buckets": [b"\xff"]}
    assert [shape["s"] for shape in _sent(Register((ID[0], CALL_SHAPE)))["shapes"]] == [ID[0].id]
    assert _sent(Delete((KEY,))) == {"keys": [KEY.encode()], "calls": [call_bucket(KEY)]}
    assert _sent(Delete((KEY,), outruns=False)) == {"keys": [KEY.encode()]}
    assert _sent(ReadFeed(None, 5)) == {"n_max": 5}
    assert _sent(ReadFeed(BEGUN, 5)) == {"after_epoch": b"e1", "after_sequence": 41, "n_max": 5}
    assert _sent(Behind(BEGUN)) == {"epoch": b"e1", "sequence": 41}
    following = {"id": b"f", "lease_s": SUBSCRIPTION_LEASE_S, "n_max": 5}
    assert _sent(Follow("f", None, 5)) == following
    assert _sent(Follow("f", BEGUN, 5)) == {**following, "epoch": b"e1", "sequence": 41}
    assert _sent(Coldest(KEY, 9, 4)) == {"key": KEY.encode(), "n_bytes": 9, "n": 4}
    assert _sent(Explain(KEY)) == {"key": KEY.encode()}
    assert _sent(Scan(7, 3)) == {"after_id": 7, "n": 3}
    assert _sent(DistrustBegin("lost")) == {"reason": b"lost"}
    assert _sent(DistrustBegin("lost", "e1")) == {"reason": b"lost", "only_epoch": b"e1"}
    assert _sent(DistrustScan(7, 3)) == {"after_id": 7, "n": 3}
    rows = {"keys": [KEY.encode()], "n_before": 4, "per_s": 2.0, "reason": b"lost"}
    assert _sent(DistrustRows((KEY,), 4, 2.0, "lost")) == rows


# ------------------------------------------------------------------------------------------------------- answers


def test_records_of_a_step_come_with_its_answer() -> None:
    """Listeners are told of them."""
    record = [7, KEY, "stale", 3, "d1"]

    decoded = decode(Delete((KEY,)), [_packed_by_lua([2, [record], "e1"])])

    assert decoded == Decoded(2, (FeedRecord(7, KEY, Kind.STALE, 3, "d1"),), epoch="e1")


def test_a_new_life_comes_with_the_answer() -> None:
    """All that was known of the store is over."""
    decoded = decode(Delete((KEY,)), [_packed_by_lua([2, True, "e2"])])

    assert decoded == Decoded(2, (), is_new_life=True, epoch="e2")


_TIMES = st.none() | st.floats(0, 2**31) | st.integers(0, 2**31).map(float)


@given(
    st.builds(
        Entry,
        key=st.text(min_size=1).map(Key),
        function=st.text(),
        state=st.sampled_from(State),
        version=st.integers(1, 2**53),
        value=st.binary(),
        digest=st.text(),
        position=st.builds(Position, st.just("e1"), st.integers(0, 2**53)),
        changed_at=st.builds(Position, st.just("e1"), st.integers(0, 2**53)),
        built_at=st.floats(0, 2**31),
        build_s=st.floats(0, 2**31),
        stale_since=_TIMES,
        reason=st.text(),
        attempts=st.integers(0, 9),
        retry_at=_TIMES,
        expires_at=_TIMES | st.just(float("inf")),
        look_at=_TIMES,
        is_error=st.booleans(),
    )
)
def test_a_loaded_entry_comes_as_it_is(entry: Entry) -> None:
    """Every field of it, and its value is the bytes of the reply."""
    answer = [_entry(entry, 1), "e1", 44, 43, 60.0, None, None, [], False]

    loaded: Loaded = _answer(Load(KEY), answer, entry.value)

    assert loaded == Loaded(entry=entry, position=Position("e1", 44), applied=43, now=60.0)


def test_a_loaded_value_is_not_copied() -> None:
    """It may be large, and every hit would pay."""
    value = b"value" * 100

    loaded: Loaded = _answer(Load(KEY), [_entry(_ENTRY, 1), "e1", 44, 43, 60.0, None, None, [], False], value)

    assert loaded.entry is not None
    assert loaded.entry.value is value


def test_what_stands_around_a_loaded_entry_comes_too() -> None:
    """Its recipe, what is unsettled below, whether somebody builds it, and what a failure has paused."""
    answer = [None, "e1", 44, 43, 60.5, "book", 1, ["inner"], True, ["book", 3.0]]
    expected = Loaded(
        entry=None,
        position=Position("e1", 44),
        applied=43,
        now=60.5,
        recipe=RECIPE,
        unsettled=(Key("inner"),),
        is_leased=True,
        broken=("book", 3.0),
    )
    nothing = [None, "e1", 44, 43, 60.5, None, None, [], False, None]
    nobody = Loaded(entry=None, position=Position("e1", 44), applied=43, now=60.5)

    assert _answer(Load(KEY), answer, RECIPE.arguments) == expected
    assert _answer(_FAIL, answer, RECIPE.arguments) == expected
    assert _answer(LoadMany((KEY, KEY)), [answer, nothing], RECIPE.arguments) == (expected, nobody)


def test_a_begin_is_answered_in_one_of_three_ways() -> None:
    """The lease with its event, or why there is none."""
    packed = _lease(LEASE, 1)
    with_event = msgspec.structs.replace(LEASE, event=b"\xffevent", n_died=1)

    assert _answer(_BEGIN, ["lease", _lease(with_event, 1)], b"\xffevent") == with_event
    assert _answer(_BEGIN, ["lease", [*packed[:8], None, packed[9]]]) == LEASE
    assert _answer(_BEGIN, ["not_needed"]) == NotNeeded()
    assert _answer(_BEGIN, ["busy", 60, 70.5]) == Busy(60.0, 70.5)


def test_a_commit_is_answered_with_its_entry() -> None:
    """The value comes back, or is the one that was sent."""
    entry = msgspec.structs.replace(_ENTRY, value=BUILT.value)

    sent_back = _answer(COMMIT, ["committed", _entry(entry, 1), True, True, False], b"old")
    kept = _answer(COMMIT, ["committed", _entry(entry, None), False, True, True])

    assert sent_back == Committed(msgspec.structs.replace(entry, value=b"old"), is_changed=True)
    assert kept == Committed(entry, is_changed=False, is_recovery=True)


def test_a_commit_that_was_overtaken_says_where_the_store_stands() -> None:
    """The lease is no longer the builder's."""
    assert _answer(COMMIT, ["overtaken", "e2", 50, 61]) == Overtaken(Position("e2", 50), 61.0)


def test_a_commit_that_was_not_stored_gives_its_builder_the_value() -> None:
    """It is good as of no more than what it read, and dirty from the start."""
    done: Committed = _answer(COMMIT, ["unstored", "an event came", "book", "e1", 50, 61, True])

    assert (done.is_changed, done.is_stored, done.is_recovery) == (False, False, True)
    assert (done.entry.value, done.entry.position, done.entry.changed_at) == (
        BUILT.value,
        Position("e1", 40),
        Position("e1", 50),
    )
    assert (done.entry.reason, done.entry.function, done.entry.state) == ("an event came", "book", State.DIRTY)


def test_short_answers() -> None:
    """How many, whether, and that it was done."""
    assert [_answer(one, True) for one in (GiveUp(LEASE), Note({}, {}), Register(()))] == [None, None, None]
    assert [_answer(one, True) for one in (PUT, Extend((), 1.0))] == [True, True]
    assert _answer(PUT, False) is False
    assert [_answer(Behind(BEGUN), one) for one in (0, 1.5)] == [0.0, 1.5]
    assert [_answer(one, 3) for one in (Retry(()), Delete(()), Enqueue({}), DistrustRows((), 0, 1.0, ""))] == [3] * 4


def test_what_is_due_comes_with_leases_and_recipes() -> None:
    """And with what was dropped on the way, and when to ask again."""
    request = TakeDue({"book": Limit()}, 10, 5.0)
    lease = msgspec.structs.replace(LEASE, event=b"event")

    took = _answer(request, [[[_lease(lease, 2), "book", 1]], 60, 65.5, ["late"], ["cold"]], RECIPE.arguments, b"event")
    none = _answer(request, [[], 60, None, [], []])

    assert took == TookDue((Due(lease, RECIPE),), 60.0, 65.5, (Key("late"),), (Key("cold"),))
    assert none == TookDue((), 60.0, None)


def test_an_apply_is_answered_with_what_it_touched() -> None:
    """Or with the shapes that the asker does not know."""
    applied = _answer(APPLY, ["applied", "e1", 50, [KEY], ["outer"], [1, 0], None])
    moved = _answer(APPLY, ["moved", "e1", 3, [1, 2]], _shape_blob(ID[0]), _shape_blob(JUDGE))

    assert applied == Applied(Position("e1", 50), (KEY,), (Key("outer"),), frozenset((0, 1)))
    assert moved == ShapesMoved(Generation("e1", 3), (ID[0], JUDGE))


def test_candidates_come_with_buckets_and_recipes() -> None:
    """Their arguments decide whether an event touches them."""
    answer = _answer(Candidates((Bucket(b"\xff"),)), [[1, KEY, "book", 2]], b"\xff", RECIPE.arguments)

    assert answer == (Candidate(Bucket(b"\xff"), KEY, RECIPE),)


def test_the_feed_comes_in_order() -> None:
    """With the position after it, and whether some of it is lost."""
    batch = _answer(ReadFeed(BEGUN), [[[42, KEY, "dropped", 1, "d1"]], "e1", 42, False])
    reset = _answer(ReadFeed(BEGUN), [[], "e2", 3, True])

    assert _answer(Follow("f", BEGUN, 5), [[], "e2", 3, True]) == reset
    assert batch == FeedBatch((FeedRecord(42, KEY, Kind.DROPPED, 1, "d1"),), Position("e1", 42))
    assert reset == FeedBatch((), Position("e2", 3), is_reset=True)


def test_an_explanation_comes_with_groups_and_terms() -> None:
    """Tags and calls are never learnt, so the store names only their ids; terms without a word are an empty table."""
    groups = [[1, 2, 3], [4, 5, None], [6, 5, None]]
    blobs = (ID[0].id, _packed_by_lua([["7"]]), _shape_blob(ID[0]), TAG_SHAPE.id, _packed_by_lua([["news"]]), b"gone")
    answer = [_listed(_LISTED), groups, ["inner"], ["inner"], ["outer"], ["book.update"], "host", {}, True, None, 7]

    explained: Explained = _answer(Explain(KEY), answer, *blobs)

    assert explained == Explained(
        listed=_LISTED,
        groups=(Group(ID[0], (("7",),)), Group(TAG_SHAPE, (("news",),))),
        seen=(Key("inner"),),
        unsettled=(Key("inner"),),
        outer=(Key("outer"),),
        history=("book.update",),
        builder="host",
        terms=Terms(),
        is_leased=True,
        expires_at=None,
        watched_until=7.0,
    )


def test_terms_of_an_explanation_come_as_they_were_sent() -> None:
    """With their defaults left out, as they are stored."""
    terms = Terms(on_change=OnChange.DROP, priority=2, settle_s=(1.0, 2.5), linger_s=3.0)
    sent = msgspec.to_builtins(terms)

    explained: Explained = _answer(Explain(KEY), [_listed(_LISTED), [], [], [], [], [], "", sent, False, 5, 0])

    assert explained.terms == terms
    assert explained.expires_at == 5.0


def test_nothing_is_known_of_an_entry_that_is_not_there() -> None:
    """The answer is None."""
    assert _answer(Explain(KEY), None) is None


def test_chunks_are_answered_with_how_far_they_came() -> None:
    """Whoever asks goes on from there."""
    assert _answer(Coldest(KEY, 9), [[60.5, [KEY, "outer"]]]) == [Cold(60.5, [KEY, Key("outer")])]
    assert _answer(Scan(0), [[_listed(_LISTED)], 9, True]) == Scanned((_LISTED,), 9, is_end=True)
    assert _answer(DistrustBegin(""), ["e2", 5]) == Position("e2", 5)
    assert _answer(DistrustBegin("", "e1"), False) is None
    assert _answer(DistrustScan(0), [[[KEY, -1, -60.5]], 9, False]) == Sifted(((KEY, -1.0, -60.5),), 9, is_end=False)


# -------------------------------------------------------------------------------------------------------- chunks


def _carried_out(request: Request[Any], store: Callable[[Any], object]) -> Any:  # noqa: ANN401 - of whatever type
    steps = CHUNKED[type(request)](request)
    answer: object = None
    try:
        while True:
            answer = store(steps.send(answer))
    except StopIteration as stop:
        return stop.value


class _Shelf:
    """A store that shows its entries in chunks of a few, by number."""

    def __init__(self, entries: Sequence[Listed], n_in_chunk: int) -> None:
        self._entries, self._n = entries, n_in_chunk

    def __call__(self, scan: Scan) -> Scanned:
        last = scan.after_id + self._n
        return Scanned(tuple(self._entries[scan.after_id : last]), last, last >= len(self._entries))


_ENTRIES = st.lists(
    st.builds(
        Listed,
        key=st.text("abc", min_size=1, max_size=3).map(Key),
        function=st.sampled_from(["", "book", "page"]),
        state=st.sampled_from(State),
        version=st.integers(0, 2),
        built_at=st.just(1.0),
        read_at=st.just(1.0),
        stale_since=st.none(),
        reason=st.just(""),
        attempts=st.just(0),
        due=st.none(),
        n_bytes=st.integers(0, 9),
    ),
    max_size=20,
    unique_by=lambda listed: listed.key,
)


@given(
    _ENTRIES,
    st.integers(1, 7),
    st.builds(
        ListEntries,
        st.sampled_from([None, "", "book"]),
        st.sampled_from([None, State.FRESH]),
        st.text("abc", max_size=2).map(Key),
        st.integers(0, 5),
    ),
)
def test_a_list_in_chunks_is_the_list(entries: list[Listed], n_in_chunk: int, request: ListEntries) -> None:
    """Entries by key, whatever their numbers, of the function and the state, after the key, so many at most."""
    expected = sorted(
        (
            one
            for one in entries
            if one.key > request.after
            and request.function in (None, one.function)
            and request.state in (None, one.state)
        ),
        key=lambda one: one.key,
    )

    listed = _carried_out(request, _Shelf(entries, n_in_chunk))

    assert list(listed) == expected[: request.n_max]


def test_a_long_list_keeps_only_the_first() -> None:
    """A store may hold more than the process that asks."""
    keys = [Key(f"{(number * 7919) % 5000:04}") for number in range(5000)]
    entries = [msgspec.structs.replace(_LISTED, key=key) for key in keys]

    listed = _carried_out(ListEntries(n_max=3), _Shelf(entries, 200))

    assert [one.key for one in listed] == ["0000", "0001", "0002"]


def test_an_entry_that_came_back_is_listed_once() -> None:
    """It was removed between two chunks, and has another number since; what it is now counts."""
    before, after = (msgspec.structs.replace(_LISTED, key=Key("a"), version=version) for version in (1, 5))

    assert _carried_out(ListEntries(), _Shelf([before, after], 1)) == (after,)


def test_an_entry_that_came_back_in_another_state_is_not_listed() -> None:
    """As it was, it is no more."""
    before, after = (msgspec.structs.replace(_LISTED, key=Key("a"), state=one) for one in (State.FRESH, State.DIRTY))

    assert _carried_out(ListEntries(state=State.FRESH), _Shelf([before, after], 1)) == ()


@given(_ENTRIES, st.integers(1, 7), st.sampled_from([None, "", "book"]))
def test_a_count_in_chunks_is_the_count(entries: list[Listed], n_in_chunk: int, function: str | None) -> None:
    """By state, and of one function or all."""
    some = [one for one in entries if function in (None, one.function)]
    by_state = {state: sum(one.state is state for one in some) for state in {one.state for one in some}}

    counted = _carried_out(Count(function), _Shelf(entries, n_in_chunk))

    assert counted == Counted(len(some), sum(one.version > 0 for one in some), by_state, sum(o.n_bytes for o in some))


class _Distrusted:
    """A store that notes how it is distrusted; of every hundredth entry nothing is left when its turn comes."""

    def __init__(self, n_entries: int, *, is_moved: bool = False) -> None:
        self._n, self._is_moved = n_entries, is_moved
        self.queued: list[Key] = []
        self.n_before: list[int] = []
        self.ended: list[str] = []

    def __call__(self, request: Request[Any]) -> object:
        match request:
            case DistrustBegin():
                return None if self._is_moved else Position("e2", 1)
            case DistrustScan(after_id, n):
                some = tuple((Key(f"{one:04}"), float(one % 3), 0.0) for one in range(self._n)[after_id : after_id + n])
                return Sifted(some, after_id + n, after_id + n >= self._n)
            case DistrustRows(keys, n_before):
                self.n_before.append(n_before)
                self.queued.extend(keys)
                return len([key for key in keys if int(key) % 100])
            case DistrustEnd(epoch):
                self.ended.append(epoch)
                return None
            case _:
                raise AssertionError(request)


def test_the_distrusted_are_queued_in_order() -> None:
    """The most urgent first, over all chunks; those that are gone take no place in the queue."""
    store = _Distrusted(1200)

    n_dirty = _carried_out(Distrust("lost", per_s=10.0), store)

    assert n_dirty == 1200 - 12
    assert store.queued == sorted(store.queued, key=lambda key: (int(key) % 3, key))
    assert store.n_before == [0, 198, 396, 594, 792, 990]
    assert store.ended == ["e2"]


def test_a_life_that_somebody_else_ended_is_not_ended_again() -> None:
    """Several processes may notice one loss; the first distrusts."""
    store = _Distrusted(3, is_moved=True)
    steps = distrust(Distrust("lost"), only_epoch="e1")

    begin = next(steps)
    with pytest.raises(StopIteration) as stop:
        steps.send(store(begin))

    assert begin == DistrustBegin("lost", "e1")
    assert stop.value.value == 0


# --------------------------------------------------------------------------------------------------- by hand


def _shape_of(blob: bytes) -> Shape:
    return msgspec.msgpack.decode(blob, type=Shape)


def _shape_blob(shape: Shape) -> bytes:
    return msgspec.msgpack.encode(shape)


def _entry(entry: Entry, blob: int | None) -> list[object]:
    return [
        entry.key,
        entry.function,
        entry.state.value,
        entry.version,
        entry.digest,
        entry.position.sequence,
        entry.changed_at.sequence,
        entry.built_at,
        entry.build_s,
        entry.stale_since,
        entry.reason,
        entry.attempts,
        entry.retry_at,
        entry.expires_at,
        entry.look_at,
        entry.is_error,
        blob,
    ]


def _lease(lease: Lease, event: int) -> list[object]:
    return [
        lease.key,
        lease.token,
        lease.begun.epoch,
        lease.begun.sequence,
        lease.until,
        lease.begun_at,
        lease.attempts,
        lease.n_died,
        event,
        lease.cause,
    ]


def _listed(listed: Listed) -> list[object]:
    return list(msgspec.to_builtins(msgspec.structs.asdict(listed)).values())


_LEASE_SENT = {
    "key": KEY.encode(),
    "token": 9,
    "epoch": b"e1",
    "begun": 41,
    "begun_at": 60.5,
    "attempts": 2,
    "cause": [b"a", b"b"],
}
_ENTRY = Entry(
    key=KEY,
    function="book",
    state=State.FRESH,
    version=3,
    value=b"",
    digest="d1",
    position=BEGUN,
    changed_at=Position("e1", 43),
    built_at=60.0,
    build_s=0.25,
)
_LISTED = Listed(
    key=KEY,
    function="book",
    state=State.SUSPECT,
    version=3,
    built_at=60.0,
    read_at=61.5,
    stale_since=62.0,
    reason="shaken",
    attempts=0,
    due=None,
    n_bytes=5,
)
_FAIL = Fail(lease=LEASE, fingerprint="f1", reason="broken", retry_in_s=2.0)
_BEGIN = Begin(key=KEY, recipe=RECIPE, fingerprint="f1", shapes=(), lease_s=10.0, good_from=1)
COMMIT = Commit(lease=LEASE, built=BUILT, fingerprint="f1", retry_in_s=1.5, builder="host")
PUT = Put(key=KEY, value=b"\xc0put", digest="d1", groups=GROUPS, fence=BEGUN, expires_s=30.0)
APPLY = Apply(
    Touched(
        {Bucket(b"\xffbucket"): 0},
        {ShapeId(b"\xffshape"): 1},
        (Probe(Bucket(b"\xffstem"), 1, ("lt",), (("n5",),), None, is_any=False, steady=(False,)),),
        {Bucket(b"\xffjudge"): (0, 1)},
    ),
    Generation("e1", 4),
    (Mention("book.update", Event("book.update")), Mention("by name")),
    spared={Bucket(b"\xffjudge"): frozenset((KEY,))},
    cause=("c",),
    encode=lambda event: b"\xff" + event.topic.encode(),
    puts=(PUT,),
)
REPORT = Report(source="bus", consumer="host:1", is_connected=True, topics=("#",), lag=3)
UNREADABLE = Unreadable(
    id="1", source="bus", format="json", reason="no JSON", message=Message(topic="t", body=b"\xff"), at=60.5
)
ONE_OF_EACH: tuple[Request[Any], ...] = (
    Load(KEY),
    LoadMany((KEY,)),
    _BEGIN,
    COMMIT,
    _FAIL,
    GiveUp(LEASE),
    Extend((LEASE,), 5.0),
    TakeDue({"book": Limit()}, 1, 5.0),
    Enqueue({KEY: RECIPE}),
    Retry((KEY,)),
    Note({}, {}),
    Candidates(()),
    APPLY,
    Register((ID[0],)),
    PUT,
    Delete((KEY,)),
    ReadFeed(None),
    Explain(KEY),
    Behind(BEGUN),
    Follow("f", BEGUN, 5),
    Coldest(KEY, 9),
    Scan(0),
    DistrustBegin("lost"),
    DistrustScan(0),
    DistrustRows((KEY,), 0, 1.0, "lost"),
    Touch((), BEGUN, APPLY),
    Pace(((KEY, 60.5, 61.5),)),
    KeepOffsets((Offset("bus", "5"),)),
    Tell(REPORT),
    ReadSome(None),
    ForgetSome(("bus",)),
    QuarantineSome((UNREADABLE,), 5, 5_000),
    ReadIds(("1",)),
    ReadAfter(3, "bus"),
    ReleaseSome(("1",)),
)


def test_one_of_each_is_sent_by_its_own_script() -> None:
    """Two requests never share a script's name; every payload is something that Lua reads."""
    payloads = [encode(one, HEAD) for one in ONE_OF_EACH]

    assert len({payload.script for payload in payloads}) == len(ONE_OF_EACH)
    assert all(_AsLua(payload.packed).read_all()[4] == b"epoch" for payload in payloads)


def test_kinds_of_shapes_other_than_tags_and_calls_are_registered() -> None:
    """Events reach tags and calls by name."""
    shapes = tuple(Shape(kind) for kind in ShapeKind)

    sent = [_shape_of(shape["blob"]).kind for shape in _sent(Register(shapes))["shapes"]]

    assert set(sent) == set(ShapeKind) - {ShapeKind.TAG, ShapeKind.CALL}
