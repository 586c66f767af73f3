"""Tokens for pages of other origins: who has a key issues them, everybody else is refused."""

import base64
import json
import subprocess
import sys
from datetime import timedelta

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh import InvalidOption
from everfresh.push.access import InvalidToken
from everfresh.push.tokens import TopicTokens

OLD, NEW = "o" * 32, "n" * 32


class Clock:
    def __init__(self) -> None:
        self.now = 1_763_800_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> TopicTokens:
    return TopicTokens({"new": NEW}, clock=clock)


def test_a_token_says_what_its_bearer_may_follow(tokens: TopicTokens) -> None:
    """Topics by name, or by how they begin, and whose change of access ends it."""
    claims = tokens.read(tokens.issue("builds", "issue:*", user="42", subjects=["user:42"]))

    assert (claims.user, claims.subjects) == ("42", ("user:42",))
    assert [claims.covers(topic) for topic in ("builds", "builds2", "issue:7", "issue:", "issue")] == [
        True,
        False,
        True,
        True,
        False,
    ]


def test_a_token_expires(tokens: TopicTokens, clock: Clock) -> None:
    """To the second."""
    token = tokens.issue("a")
    clock.now += 599
    tokens.read(token)
    clock.now += 1

    with pytest.raises(InvalidToken, match="expired"):
        tokens.read(token)


def test_keys_rotate_without_a_moment_at_which_a_good_token_is_refused(clock: Clock) -> None:
    """The new key is added, then signs; the old one goes once its last token has expired."""
    before = TopicTokens({"old": OLD}, clock=clock)
    both = TopicTokens({"old": OLD, "new": NEW}, clock=clock)
    after = TopicTokens({"new": NEW}, clock=clock)

    both.read(before.issue("a"))
    after.read(both.issue("a"))
    with pytest.raises(InvalidToken, match="key is not known"):
        after.read(before.issue("a"))


def test_a_key_of_the_same_name_that_is_another_does_not_fit(clock: Clock) -> None:
    """The name of a key proves nothing."""
    with pytest.raises(InvalidToken):
        TopicTokens({"k": OLD}, clock=clock).read(TopicTokens({"k": NEW}, clock=clock).issue("a"))


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "another"},
        {"aud": None},
        {"exp": None},
        {"iat": None},
        {"exp": "soon"},
        {"topics": "a*"},
        {"topics": [1]},
        {"exp": 1_763_900_000},
        {"iat": 1_763_900_000},
        {"exp": float("nan")},
        {"iat": float("nan")},
        {"exp": float("inf")},
        {"pos": "yesterday"},
        {"pos": 7},
    ],
)
def test_what_is_signed_but_says_too_much_or_too_little_is_refused(
    tokens: TopicTokens, clock: Clock, change: dict[str, object]
) -> None:
    """Another audience, no end, an end that is too far, topics that are one text."""
    told: dict[str, object] = {"aud": "everfresh", "topics": ["a"], "iat": clock.now, "exp": clock.now + 60} | change
    token = jwt.encode(
        {name: value for name, value in told.items() if value is not None}, NEW, "HS256", headers={"kid": "new"}
    )

    with pytest.raises(InvalidToken):
        tokens.read(token)


def test_a_token_without_a_signature_or_of_another_algorithm_is_refused(tokens: TopicTokens, clock: Clock) -> None:
    """The token does not choose how it is checked."""
    told = {"aud": "everfresh", "topics": ["*"], "iat": clock.now, "exp": clock.now + 60}
    unsigned = jwt.encode(told, "", "none", headers={"kid": "new"})
    stronger = jwt.encode(told, NEW * 2, "HS512", headers={"kid": "new"})

    for token in (unsigned, stronger):
        with pytest.raises(InvalidToken):
            tokens.read(token)


@given(st.text(max_size=60), st.integers(0, 2))
def test_no_text_is_taken_for_a_token(text: str, part: int) -> None:
    """Whatever stands in its place, as a whole or as one part of a good one, it is refused by the one error."""
    clock = Clock()
    tokens = TopicTokens({"new": NEW}, clock=clock)
    parts = tokens.issue("a").split(".")
    if text != parts[part]:
        parts[part] = text

        with pytest.raises(InvalidToken):
            tokens.read(".".join(parts))
    with pytest.raises(InvalidToken):
        tokens.read(text)


def test_a_changed_token_is_refused(tokens: TopicTokens) -> None:
    """Other topics under the old signature."""
    header, body, signature = tokens.issue("a").split(".")
    told = json.loads(base64.urlsafe_b64decode(body + "=="))
    told["topics"] = ["*"]
    forged = base64.urlsafe_b64encode(json.dumps(told).encode()).rstrip(b"=").decode()

    with pytest.raises(InvalidToken):
        tokens.read(f"{header}.{forged}.{signature}")


@pytest.mark.parametrize(
    ("keys", "lifetime"),
    [({}, 10), ({"k": "short"}, 10), ({"k": NEW}, 0)],
)
def test_keys_that_could_be_guessed_are_refused(keys: dict[str, str], lifetime: int) -> None:
    """And the message holds none of them."""
    with pytest.raises(InvalidOption) as refused:
        TopicTokens(keys, lifetime=timedelta(minutes=lifetime))

    assert "short" not in str(refused.value).replace("shorter", "")


def test_a_token_of_any_length_is_read_or_refused_at_once(tokens: TopicTokens) -> None:
    """A long one is not even looked into."""
    with pytest.raises(InvalidToken, match="too long"):
        tokens.read("a" * 100_000)


def test_who_has_not_the_library_is_told_what_to_install() -> None:
    """Another one has the name under which it is imported."""
    code = "import sys; sys.modules['jwt'] = None; import everfresh.push.tokens"

    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)

    assert "pip install 'everfresh[web]'" in done.stderr
