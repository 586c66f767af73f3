from everfresh.cache.near import NearCache, Slot, SlotsOfArgs
from everfresh.model.entry import Entry, FeedRecord, Key, Kind
from tests.unit.protocol.making import entry


def entry_of(name: str) -> Entry:
    return entry(key=Key(name))


def record_of(name: str, sequence: int = 9) -> FeedRecord:
    return FeedRecord(sequence, Key(name), Kind.STALE, 1, "d")


def hold(near: NearCache, name: str, value: object = 7) -> Slot:
    """Ask the store and put what it answered into the near cache."""
    slot = Slot(entry_of(name), value)
    near.settle(near.open(Key(name)), slot)
    return slot


def names_in(near: NearCache, *names: str) -> list[str]:
    return [name for name in names if near.get(Key(name)) is not None]


def test_a_value_that_was_asked_for_is_held() -> None:
    """The next call costs a look-up."""
    near = NearCache(10)

    slot = hold(near, "a")

    assert near.get(Key("a")) is slot
    assert slot.is_live
    assert len(near) == 1


def test_a_value_that_nobody_asked_for_is_not_there() -> None:
    """None means: ask the store."""
    assert NearCache(10).get(Key("a")) is None


def test_a_record_of_the_feed_kills_the_slot_of_its_entry() -> None:
    """From that moment it may be out of date, also for those who hold it in their hands."""
    near = NearCache(10)
    slot, other = hold(near, "a"), hold(near, "b")

    near.on_records([record_of("a"), record_of("unknown")])

    assert names_in(near, "a", "b") == ["b"]
    assert (slot.is_live, other.is_live) == (False, True)


def test_an_answer_is_not_held_if_its_entry_changed_on_the_way() -> None:
    """It may be older than the change."""
    near = NearCache(10)
    ticket = near.open(Key("a"))

    near.on_records([record_of("a")])
    near.settle(ticket, Slot(entry_of("a"), 7))

    assert names_in(near, "a") == []


def test_an_answer_that_tells_of_the_change_is_held() -> None:
    """A feed told of it again while somebody asked."""
    near = NearCache(10)
    ticket = near.open(Key("a"))
    slot = Slot(entry_of("a"), 7)

    near.on_records([record_of("a", slot.entry.changed_at.sequence)])
    near.settle(ticket, slot)

    assert names_in(near, "a") == ["a"]


def test_a_change_voids_only_the_questions_that_were_asked_before() -> None:
    """Who asks afterwards sees the change."""
    near = NearCache(10)
    before = near.open(Key("a"))
    near.on_records([record_of("a")])
    after = near.open(Key("a"))

    newer = Slot(entry_of("a"), 8)
    near.settle(after, newer)
    near.settle(before, Slot(entry_of("a"), 7))

    assert near.get(Key("a")) is newer


def test_a_question_that_failed_leaves_nothing() -> None:
    """The next caller asks again."""
    near = NearCache(10)

    near.settle(near.open(Key("a")), None)

    assert names_in(near, "a") == []


def test_a_newer_answer_takes_the_place_of_an_older_one() -> None:
    """Two callers asked at once, and there is one slot."""
    near = NearCache(10)
    old = hold(near, "a")

    new = hold(near, "a")

    assert near.get(Key("a")) is new
    assert (old.is_live, len(near)) == (False, 1)


def test_after_a_loss_nothing_is_held() -> None:
    """Records were lost, so every value may be out of date, and every answer on its way too."""
    near = NearCache(10)
    slot, ticket = hold(near, "a"), near.open(Key("b"))

    near.on_reset()
    near.settle(ticket, Slot(entry_of("b"), 7))

    assert (len(near), slot.is_live) == (0, False)


def test_without_room_nothing_is_held() -> None:
    """Zero turns the near cache off."""
    near = NearCache(0)

    hold(near, "a")

    assert len(near) == 0


def test_what_was_not_used_makes_room() -> None:
    """The oldest that nobody read since goes first."""
    near = NearCache(3)
    slots = {name: hold(near, name) for name in "abc"}
    slots["a"].is_used = True

    hold(near, "d")

    assert names_in(near, *"abcd") == ["a", "c", "d"]
    assert not slots["b"].is_live


def test_what_was_used_once_does_not_stay_for_ever() -> None:
    """Passed over once, it has to be used again."""
    near = NearCache(2)
    hold(near, "a").is_used = True
    hold(near, "b").is_used = True

    hold(near, "c")
    hold(near, "d")

    assert names_in(near, *"abcd") == ["c", "d"]


def test_an_immutable_value_is_held_as_it_is() -> None:
    """It is handed out without a copy."""
    slot = Slot(entry_of("a"), (1, 2))

    assert slot.is_immutable
    assert slot.value == (1, 2)


def test_a_mutable_value_is_not_held_itself() -> None:
    """Each caller gets one of its own, made from the entry."""
    slot = Slot(entry_of("a"), [1, 2])

    assert not slot.is_immutable
    assert slot.value is None


def test_arguments_lead_to_a_slot_as_long_as_it_lives() -> None:
    """They know the types of the arguments too, as 1 and True are equal."""
    near, home = NearCache(10), SlotsOfArgs()
    slot = Slot(entry_of("a"), 7, home=home, args=(1, True))

    near.settle(near.open(Key("a")), slot)
    assert home == {(1, True): slot}
    assert slot.types == (int, bool)
    near.on_records([record_of("a")])

    assert home == {}


def test_a_slot_that_dies_does_not_take_its_successor_along() -> None:
    """Its arguments lead to another slot by then."""
    home = SlotsOfArgs()
    old, new = (Slot(entry_of("a"), value, home=home, args=(1,)) for value in (7, 8))
    old.go_home()
    new.go_home()

    old.die()

    assert home == {(1,): new}


def test_two_ways_to_write_a_call_lead_to_one_entry() -> None:
    """The newest answer stands, under the arguments that it was asked with."""
    near, home = NearCache(10), SlotsOfArgs()

    for args in ((1,), (1, 2)):
        near.settle(near.open(Key("a")), Slot(entry_of("a"), 7, home=home, args=args))

    assert list(home) == [(1, 2)]
    assert len(near) == 1
