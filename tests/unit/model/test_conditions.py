from collections.abc import Callable
from decimal import Decimal

import pytest

from everfresh.model import conditions as con
from everfresh.model.conditions import Condition, arg
from everfresh.model.errors import InvalidDependency

ORDERED = [con.lt, con.le, con.gt, con.ge]


@pytest.mark.parametrize(
    ("condition", "operator", "operand"),
    [
        (con.one_of(1, "a", None), "one_of", (1, "a", None)),
        (con.lt(1), "lt", 1),
        (con.le("a"), "le", "a"),
        (con.gt(arg("x")), "gt", arg("x")),
        (con.ge(Decimal(1)), "ge", Decimal(1)),
        (con.between(1, arg("x")), "between", (1, arg("x"))),
        (con.startswith("ab"), "startswith", "ab"),
        (con.startswith(arg("x")), "startswith", arg("x")),
        (con.is_null(), "is_null", None),
        (con.not_(7), "not", 7),
        (con.not_(None), "not", None),
        (con.not_(con.lt(7)), "not", con.lt(7)),
    ],
    ids=str,
)
def test_a_condition_is_an_operator_and_what_it_compares_with(
    condition: Condition, operator: str, operand: object
) -> None:
    """Nothing else of it has to cross to another process."""
    assert condition == Condition(operator, operand)


def test_twice_not_is_the_condition_itself() -> None:
    """So that each list has one shape, however it was arrived at."""
    assert con.not_(con.not_(con.lt(7))) == con.lt(7)
    assert con.not_(con.not_(7)) == con.one_of(7)


@pytest.mark.parametrize("make", ORDERED, ids=lambda make: make.__name__)
@pytest.mark.parametrize(
    "operand",
    [None, float("nan"), Decimal("NaN"), [1], (1,), {1}, {"a": 1}, con.lt(1)],
    ids=["null", "nan", "decimal-nan", "list", "tuple", "set", "mapping", "condition"],
)
def test_what_has_no_order_is_refused(make: Callable[[object], Condition], operand: object) -> None:
    """No field is less than null or a list, so the entry would never be touched."""
    with pytest.raises(InvalidDependency, match=f"dep.{make.__name__}: .* has no order"):
        make(operand)
    with pytest.raises(InvalidDependency, match=r"dep.between: .* has no order"):
        con.between(1, operand)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (con.one_of, "Give at least one"),
        (lambda: con.one_of(1, ["a"]), "equal a list"),
        (lambda: con.one_of(con.lt(7)), "is a condition"),
        (lambda: con.not_(["a"]), "equal a list"),
        (lambda: con.startswith(7), "is no text"),  # type: ignore[arg-type]
        (lambda: Condition("between", (1,)), "is no pair"),
        (lambda: Condition("between", 7), "is no pair"),
        (lambda: Condition("one_of", 7), "is no tuple"),
        (lambda: Condition("is_null", 7), "takes no value"),
        (lambda: Condition("like", "a%"), "'like' is no operator"),
        (lambda: Condition("not", con.not_(7)), "negated already"),
    ],
    ids=[
        "none-of",
        "one-of-lists",
        "one-of-conditions",
        "not-a-list",
        "no-text",
        "one-end",
        "no-ends",
        "one-value",
        "null-of",
        "operator",
        "not-not",
    ],
)
def test_a_condition_that_no_event_could_meet_is_refused(make: Callable[[], Condition], message: str) -> None:
    """Where it is written, and not when the first event comes."""
    with pytest.raises(InvalidDependency, match=message):
        make()
