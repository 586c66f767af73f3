from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from everfresh.matching.index import Generation, ShapeIndex, Shapes
from everfresh.matching.shapes import CALL_SHAPE, TAG_SHAPE, predicate_shape, shapes_to_register
from everfresh.model import conditions as con
from everfresh.model import dependency as dep
from tests.unit.matching.triaging import index_of, shapes_of

ARTICLE = dep.Id("article", 7)
SHAPES = shapes_of(
    [
        dep.Topic("a.*"),
        ARTICLE,
        dep.Tag("x"),
        dep.Id("article", 7, ("title",)),
        dep.Topic("a.b"),
        dep.Topic("a.*", {"x": 1}),
        dep.Id("author", 1),
        dep.Scope("article"),
    ]
)
LISTED = SHAPES[7]


@given(st.lists(st.integers(0, len(SHAPES))))
def test_shapes_may_be_learnt_in_overlapping_slices(cuts: list[int]) -> None:
    """Two threads that were told of the same shapes leave the index as one would have."""
    slices = [(start, SHAPES[start:stop]) for start, stop in pairwise([0, *sorted(cuts), len(SHAPES)])]
    index = ShapeIndex()

    for start, shapes in slices:
        index.learn(0, SHAPES[:start])
        index.learn(start, shapes)
        index.learn(max(start - 2, 0), SHAPES[max(start - 2, 0) : start + len(shapes)])

    assert index.generation == Generation("", len(SHAPES))
    assert [known.shape for known in index.all()] == SHAPES
    assert {known.shape for known in index.of_topic("a.b")} == {SHAPES[0], SHAPES[4], SHAPES[5]}
    assert [known.shape for known in index.of_type("article")] == [SHAPES[1], SHAPES[3], LISTED]
    assert [known.shape for known in index.of_type("author")] == [SHAPES[6]]


def test_a_shape_that_the_store_lists_twice_is_filed_once() -> None:
    """It still counts, as the generation is the length of the store's list."""
    index = index_of([dep.Topic("a"), dep.Topic("a"), ARTICLE, ARTICLE])

    assert index.generation.n_shapes == 4
    assert len(index.of_topic("a")) == 1
    assert len(index.of_type("article")) == 1


def test_only_shapes_that_events_reach_are_registered() -> None:
    """Tags and calls are reached by name, without an index."""
    reached = [*shapes_of([dep.Topic("a"), ARTICLE, dep.Scope("article")]), predicate_shape("a.#", "f")]

    registered = list(shapes_to_register([*reached, TAG_SHAPE, CALL_SHAPE]))

    assert registered == reached


def test_a_predicate_is_found_by_the_topics_that_it_is_asked_about() -> None:
    """It stands among the topics, and says that it is another thing."""
    index = ShapeIndex()
    index.learn(0, [predicate_shape("a.#", "f")])

    (known,) = index.of_topic("a.b")

    assert known.is_predicate
    assert index.of_topic("b") == ()


def test_a_new_list_takes_the_place_of_the_old_one() -> None:
    """Whoever is looking into the old index goes on with it, and it says that it is the old one."""
    shapes = Shapes()
    shapes.learn(Generation("one", 0), SHAPES[:3])
    old = shapes.index

    shapes.learn(Generation("two", 0), SHAPES[4:5])

    assert shapes.index.generation == Generation("two", 1)
    assert [known.shape for known in shapes.index.of_topic("a.b")] == [SHAPES[4]]
    assert shapes.index.of_type("article") == ()
    assert old.generation == Generation("one", 3)
    assert [known.shape for known in old.of_topic("a.b")] == [SHAPES[0]]


def test_the_end_of_another_list_says_nothing() -> None:
    """Two threads were answered by two lives of the store; without its beginning a list is not known."""
    shapes = Shapes()
    shapes.learn(Generation("one", 0), SHAPES[:3])

    shapes.learn(Generation("two", 2), SHAPES[3:])

    assert shapes.index.generation == Generation("one", 3)


def test_a_list_goes_on_where_it_ended() -> None:
    """As long as the store lives its life."""
    shapes = Shapes()
    shapes.learn(Generation("one", 0), SHAPES[:3])
    index = shapes.index

    shapes.learn(Generation("one", 3), SHAPES[3:5])

    assert shapes.index is index
    assert index.generation == Generation("one", 5)


def test_paths_that_lead_on_from_one_place_are_known() -> None:
    """A list there has elements of which one may have to meet all the conditions."""
    where = {"items.sku": 1, "items.size.x": 2, "items.size.y": con.lt(3), "itemsx": 4, "a": 5, "b.c": 6}
    (known,) = index_of([dep.Scope("order", where)]).of_type("order")
    (alone,) = index_of([dep.Scope("order", {"items.sku": 1, "a": 5})]).of_type("order")

    assert {place: set(paths) for place, paths in known.together} == {
        "items": {"items.sku", "items.size.x", "items.size.y"},
        "items.size": {"items.size.x", "items.size.y"},
    }
    assert alone.together == ()


def test_what_lies_beyond_a_gap_is_not_taken_up() -> None:
    """A late answer began the list anew; whoever asks next is given what is missing, and loses nothing for good."""
    shapes = Shapes()
    shapes.learn(Generation("one", 0), SHAPES[:3])

    shapes.learn(Generation("one", 5), SHAPES[5:7])

    assert shapes.index.generation == Generation("one", 3)
    shapes.learn(Generation("one", 3), SHAPES[3:7])
    assert {known.shape for known in shapes.index.of_topic("a.b")} == {SHAPES[0], SHAPES[4], SHAPES[5]}
