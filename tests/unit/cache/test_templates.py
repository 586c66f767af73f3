import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from everfresh.cache.templates import KeyTemplate
from everfresh.model.errors import InvalidOption
from tests.unit.cache.arguments import exactly

NO_TYPES: dict[str, object] = {}
LETTERS = st.text(st.sampled_from('abx12F%!-:/ é"'), max_size=5)
VALUES = LETTERS | st.integers(-20, 20) | st.none() | st.booleans() | st.lists(LETTERS, max_size=2)


def template_of(text: str, *parameters: str, ignored: tuple[str, ...] = ()) -> KeyTemplate:
    return KeyTemplate(text, parameters, ignored, "m.f@1")


@pytest.mark.parametrize(
    ("text", "value", "key"),
    [
        ("reviews:{x}", "a@example.org", "reviews:a@example.org"),
        ("reviews:{x}", "a:b", "reviews:a%3Ab"),
        ("reviews:{x}", "a/ä%", "reviews:a%2F%C3%A4%25"),
        ("reviews:{x}", "", "reviews:"),
        ("a-{x}", "b-c", "a-b%2Dc"),
        ("{{{x}}}", "{}", "{%7B%7D}"),
        ("all", None, "all"),
    ],
)
def test_a_key_named_by_hand_holds_its_arguments(text: str, value: str | None, key: str) -> None:
    """People read it and write it; what parts the fields is escaped in them."""
    parameters = () if value is None else ("x",)

    assert template_of(text, *parameters).fill({"x": value}, {"x": str}) == key


@pytest.mark.parametrize(
    ("annotation", "value", "key"),
    [(str, "7", "7"), (str, 7, "!7"), (int, 7, "7"), (int, -7, "-7"), (int, "7", "!%227%22"), (None, None, "!null")],
    ids=repr,
)
def test_a_value_of_another_type_than_the_fields_is_marked(annotation: object, value: object, key: str) -> None:
    """None and the text "null" are two calls."""
    assert template_of("{x}", "x").fill({"x": value}, {"x": annotation}) == key


@given(
    st.sampled_from(["{a}:{b}", "{a}-{b}", "p {a} x {b}", "{a}!{b}", "{b}/{a}:", "{a}%-{b}"]),
    st.tuples(VALUES, VALUES),
    st.tuples(VALUES, VALUES),
)
@example("{a}-{b}", ("x-y", "z"), ("x", "y-z"))
@example("{a}:{b}", (None, "a"), ("null", "a"))
def test_two_calls_never_share_a_key(text: str, one: tuple[object, object], other: tuple[object, object]) -> None:
    """Else one caller would get what was built for another."""
    template = template_of(text, "a", "b")

    keys = [template.fill({"a": a, "b": b}, {"a": str, "b": int}) for a, b in (one, other)]

    assert (keys[0] == keys[1]) is (exactly(one) == exactly(other))


@pytest.mark.parametrize("text", ["user{a}v{b}", "{a}%{b}", "{a}7{b}", "{a}{b}", "x{a}{b}y"])
def test_a_template_parts_its_fields_with_what_no_value_holds(text: str) -> None:
    """Letters, digits and the sign that escapes stand in values too."""
    with pytest.raises(InvalidOption, match="delimiter"):
        template_of(text, "a", "b")


def test_a_brace_may_part_two_fields() -> None:
    """It is text like any other when it is written twice."""
    assert template_of("{a}}}{b}", "a", "b").fill({"a": "x", "b": "y"}, NO_TYPES) == "x}y"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("r:{email", "cannot be read"),
        ("r:{}", "does more than name"),
        ("r:{0}", "does more than name"),
        ("r:{email.domain}", "does more than name"),
        ("r:{email!r}", "does more than name"),
        ("r:{email:.3}", "does more than name"),
        ("r:{mail}", "is no parameter that tells calls apart"),
        ("r:{email}:{session}", "is no parameter that tells calls apart"),
        ("reviews", r"leaves out \['email'\]"),
    ],
)
def test_a_template_that_would_mix_calls_up_is_refused(text: str, problem: str) -> None:
    """At declaration, with the function's name."""
    with pytest.raises(InvalidOption, match=rf"m\.f@1: key .*{problem}"):
        template_of(text, "email", "session", ignored=("session",))


def test_an_ignored_parameter_may_be_left_out() -> None:
    """It does not tell calls apart."""
    assert template_of("r:{email}", "email", "session", ignored=("session",)).fill({"email": "a"}, NO_TYPES) == "r:a"


def test_two_templates_have_one_shape_when_only_the_names_of_their_fields_differ() -> None:
    """So that two functions with one key are found out."""
    assert template_of("r:{a}", "a").shape == template_of("r:{b}", "b").shape
    assert template_of("r:{a}", "a").shape != template_of("s:{a}", "a").shape
