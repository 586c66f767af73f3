"""Who may follow what: cookies for pages of the same site, tokens for others, and nothing for who is not known."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import pytest

from everfresh import Cache, InvalidOption, Key, StoreUnavailable
from everfresh.asgi import Problem, Request
from everfresh.push.access import Access, Grant, access_changed, access_changed_blocking, subject_key
from everfresh.push.tokens import TopicTokens
from tests.push.fake import FakeCache

TOKENS = TopicTokens({"k": "k" * 32})
ELSEWHERE = "https://app.example.com"
FOREIGN = {"sec-fetch-site": "cross-site", "origin": ELSEWHERE}


def request(headers: dict[str, str] | None = None, query: str = "") -> Request:
    pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return Request("GET", pairs, query.encode())


async def granted(access: Access, asked: Request, *names: str) -> set[str] | HTTPStatus:
    answer = await access.grant(asked, names or ("a", "b"), FakeCache())
    return answer.status if isinstance(answer, Problem) else set(answer.topics)


@pytest.mark.parametrize("site", ["same-origin", "none", None])
async def test_without_a_hook_every_topic_is_for_every_page_of_the_site(site: str | None) -> None:
    """And for programs, which say nothing of a site."""
    assert await granted(Access(), request({} if site is None else {"sec-fetch-site": site})) == {"a", "b"}


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
        {"origin": "https://evil.example", "host": "shop.example"},
        {"origin": "null", "host": "shop.example"},
    ],
)
async def test_pages_of_other_sites_are_not_let_in(headers: dict[str, str]) -> None:
    """A browser would send the visitor's cookies along."""
    asked: list[Request] = []

    def authorize(asking: Request, names: frozenset[str]) -> frozenset[str]:
        asked.append(asking)
        return names

    access = Access(authorize=authorize)

    assert await granted(access, request(headers)) is HTTPStatus.FORBIDDEN
    assert not asked


async def test_a_page_of_the_same_host_in_an_old_browser_is_let_in() -> None:
    """It names its origin, and no relation."""
    assert await granted(Access(), request({"origin": "https://shop.example", "host": "shop.example"})) == {"a", "b"}


async def later(names: frozenset[str]) -> frozenset[str]:
    await asyncio.sleep(0)
    return names


@pytest.mark.parametrize(
    ("authorize", "expected"),
    [
        (lambda _, names: names, {"a", "b"}),
        (lambda _, names: {"a", "other"}, {"a"}),
        (lambda _, names: later(names - {"a"}), {"b"}),
        (lambda _, names: Grant(["b"], user="42"), {"b"}),
        (lambda _, names: (), HTTPStatus.FORBIDDEN),
        (lambda _, names: None, HTTPStatus.UNAUTHORIZED),
        (lambda _, names: 1 / 0, HTTPStatus.SERVICE_UNAVAILABLE),
    ],
)
async def test_the_hook_decides_topic_by_topic(
    authorize: Callable[[Request, frozenset[str]], Awaitable[set[str]] | set[str] | None],
    expected: set[str] | HTTPStatus,
) -> None:
    """It grants no more than was asked, and where it fails nothing."""
    assert await granted(Access(authorize=authorize), request()) == expected


@pytest.mark.parametrize("how", ["query", "header"])
async def test_a_token_opens_its_topics_to_pages_of_the_named_origins(how: str) -> None:
    """In the query, as a browser's EventSource sends no header of ours."""
    token = TOKENS.issue("a")
    access = Access(tokens=TOKENS, origins=[ELSEWHERE])
    shown = request(FOREIGN, f"token={token}")
    if how == "header":
        shown = request({**FOREIGN, "authorization": f"Bearer {token}"})

    assert await granted(access, shown) == {"a"}
    assert access.headers(shown) == {
        "access-control-allow-origin": ELSEWHERE,
        "access-control-expose-headers": "retry-after",
        "vary": "origin",
    }
    assert await granted(access, request(FOREIGN)) is HTTPStatus.UNAUTHORIZED
    assert await granted(access, request(FOREIGN, "token=x")) is HTTPStatus.UNAUTHORIZED


async def test_a_cookie_is_worth_nothing_on_a_page_of_another_origin() -> None:
    """Even of one that is let in: the hook, which reads cookies, is not asked."""
    access = Access(authorize=lambda _, names: names, tokens=TOKENS, origins=[ELSEWHERE])

    assert await granted(access, request({**FOREIGN, "cookie": "session=ann"})) is HTTPStatus.UNAUTHORIZED
    assert await granted(access, request({"cookie": "session=ann"})) == {"a", "b"}


async def test_other_origins_get_no_header_that_opens_the_answer() -> None:
    """The origin is never repeated as it came."""
    access = Access(tokens=TOKENS, origins=[ELSEWHERE])

    assert access.headers(request({"origin": "https://evil.example"})) == {"vary": "origin"}
    assert Access().headers(request({"origin": ELSEWHERE})) == {}


def preflight(origin: str, method: str = "OPTIONS") -> Request:
    headers = [(b"origin", origin.encode()), (b"access-control-request-method", b"GET")]
    return Request(method, headers)


def test_a_named_origin_may_show_its_token_in_a_header() -> None:
    """Its browser asks before; nobody else is answered, and cookies are never asked for."""
    access = Access(tokens=TOKENS, origins=[ELSEWHERE])

    answer = access.preflight(preflight(ELSEWHERE))

    assert answer is not None
    assert answer["access-control-allow-origin"] == ELSEWHERE
    assert "authorization" in answer["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer
    assert access.preflight(preflight("https://evil.example")) is None
    assert access.preflight(preflight(ELSEWHERE, "GET")) is None
    assert Access().preflight(preflight(ELSEWHERE)) is None


class Clock:
    """A clock that is ahead of another, or behind it."""

    def __init__(self, ahead_s: float = 0) -> None:
        self.now = 1_763_800_000.0 + ahead_s

    def __call__(self) -> float:
        return self.now


async def shown(token: str, cache: Cache, tokens: TopicTokens) -> Grant | Problem:
    return await Access(tokens=tokens).grant(request(query=f"token={token}"), ["a"], cache)


@pytest.mark.parametrize("ahead_s", [-4.9, 0, 4.9], ids=["behind", "equal", "ahead"])
@pytest.mark.parametrize("before_s", [0, 0.1, 5, 60])
async def test_a_token_from_before_a_change_of_access_never_passes(ahead_s: float, before_s: float) -> None:
    """Whichever of the two clocks is ahead: that of the store, or that of who issued it."""
    of_store, of_issuer = Clock(), Clock(ahead_s)
    cache = Cache("memory:", clock=of_store)
    token = TopicTokens({"k": "k" * 32}, clock=of_issuer).issue("a", subjects=["user:42"])
    of_store.now += before_s
    await access_changed(cache, "user:42")

    answer = await shown(token, cache, TopicTokens({"k": "k" * 32}, clock=of_store))

    assert isinstance(answer, Problem)
    assert answer.status is HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize("ahead_s", [-4.9, 0, 4.9], ids=["behind", "equal", "ahead"])
async def test_a_token_from_soon_after_a_change_is_refused_with_when_to_ask_for_another(ahead_s: float) -> None:
    """Clocks cannot tell it from an older one; the next, issued after as long as the answer says, passes."""
    of_store, of_issuer = Clock(), Clock(ahead_s)
    issuing, reading = (TopicTokens({"k": "k" * 32}, clock=clock) for clock in (of_issuer, of_store))
    cache = Cache("memory:", clock=of_store)
    await access_changed(cache, "user:42")

    waited_s, is_told = 0, False
    while isinstance(answer := await shown(issuing.issue("a", subjects=["user:42"]), cache, reading), Problem):
        assert "Ask the application for another" in answer.detail
        # Behind by almost as much as clocks may differ, it seems to be older without a doubt, for a while.
        wait_s = int(answer.headers.get("retry-after", 1))
        is_told |= "retry-after" in answer.headers
        waited_s += wait_s
        of_store.now, of_issuer.now = of_store.now + wait_s, of_issuer.now + wait_s

    assert isinstance(answer, Grant)
    assert is_told
    assert 1 <= waited_s <= 10


@pytest.mark.parametrize("ahead_s", [-3600, 0, 4.9])
async def test_a_position_says_which_came_first_whatever_the_clocks_say(ahead_s: float) -> None:
    """The old one is refused, and one of after the change passes at once."""
    of_store, of_issuer = Clock(), Clock(ahead_s)
    issuing = TopicTokens({"k": "k" * 32}, clock=of_issuer)
    # As long as the token is not refused for its own times.
    reading = TopicTokens({"k": "k" * 32}, clock=of_issuer)
    cache = Cache("memory:", clock=of_store)
    old = issuing.issue("a", subjects=["user:42"], position=await cache.position())
    await access_changed(cache, "user:42")
    new = issuing.issue("a", subjects=["user:42"], position=await cache.position())

    assert isinstance(refused := await shown(old, cache, reading), Problem)
    assert "retry-after" not in refused.headers
    assert isinstance(await shown(new, cache, reading), Grant)


async def test_a_position_of_another_store_proves_nothing() -> None:
    """It was perhaps read before the store lost its memory."""
    cache, other = Cache("memory:"), Cache("memory:")
    token = TOKENS.issue("a", subjects=["user:42"], position=await other.position())
    await access_changed(cache, "user:42")

    assert isinstance(await shown(token, cache, TOKENS), Problem)


async def test_while_the_store_is_silent_no_token_with_subjects_opens_anything() -> None:
    """Nobody knows whether it still holds."""
    cache = FakeCache()
    cache.broken["stored"] = StoreUnavailable("away")
    token = TOKENS.issue("a", subjects=["user:42"])

    with pytest.raises(StoreUnavailable):
        await Access(tokens=TOKENS).grant(request(query=f"token={token}"), ["a"], cache)


async def test_each_change_of_access_is_word_in_the_feed() -> None:
    """Said twice it is told twice, by whichever code."""
    cache = Cache("memory:")
    async with cache.feed(after=await cache.position()) as feed:
        await access_changed(cache, "user:42", "team:7")
        access_changed_blocking(cache.blocking, "user:42")
        keys: list[Key] = []
        async for batch in feed:
            keys += [record.key for record in batch.records]
            if len(keys) == 3:
                break

    assert keys == [subject_key("user:42"), subject_key("team:7"), subject_key("user:42")]


@pytest.mark.parametrize(
    "origin", ["app.example.com", "https://app.example.com/", "*", "https://App.example.com", "null"]
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    """It would never fit what a browser sends, and nobody would know why."""
    with pytest.raises(InvalidOption, match="is no origin"):
        Access(tokens=TOKENS, origins=[origin])


@pytest.mark.parametrize("origins", ["https://app.example.com", ["https://app.example.com"]])
def test_origins_are_several_and_need_tokens(origins: list[str]) -> None:
    """A cookie is worth nothing there."""
    with pytest.raises(InvalidOption, match="origins"):
        Access(origins=origins)
