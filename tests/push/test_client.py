"""The files that browsers are served, and what a page's head says."""

from html.parser import HTMLParser

import httpx2
import pytest

from everfresh.model.position import Position
from everfresh.push import Client
from everfresh.push.client import FOLDER
from tests.push.serving import serving

AT = Position("e1", 7)


class Tags(HTMLParser):
    """The tags of a text, with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def metas(self) -> dict[str | None, str | None]:
        return {attributes["name"]: attributes["content"] for tag, attributes in self.found if tag == "meta"}


def test_the_head_says_where_updates_are_and_as_of_when_the_page_is() -> None:
    """And of a policy of ours only where the page allows one."""
    client = Client("/live", updates='/u"p')

    assert Tags(client.head(AT)).metas() == {"live-updates": '/u"p', "live-position": "e1.7"}
    assert Tags(client.head(AT, is_policy_allowed=True)).metas()["live-policy"] == "live-entry"


async def test_every_address_in_the_head_is_served_for_ever() -> None:
    """The address names what is in the files, so it never has to be asked for again."""
    client = Client("/live/")
    tags = Tags(client.head(AT)).found
    addresses = [one.get("src") or one.get("href") for _, one in tags if "src" in one or "href" in one]
    assert (
        len(addresses) == len({*addresses}) == len({path.name for path in FOLDER.glob("*.js")} | {"idiomorph.js"}) - 1
    )

    async with serving(client) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as browser:
        for address in addresses:
            answer = await browser.get(str(address))
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_an_address_without_the_digest_is_asked_for_again() -> None:
    """Who writes the tag by hand gets the newest, and 304 while it is that."""
    client = Client()

    async with serving(client) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as browser:
        answer = await browser.get("/live/live-entry.js")
        again = await browser.get("/live/live-entry.js", headers={"if-none-match": answer.headers["etag"]})

    assert answer.headers["cache-control"] == "no-cache"
    assert answer.content == FOLDER.joinpath("live-entry.js").read_bytes()
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/live/live-entry.js", 200),
        ("POST", "/live/live-entry.js", 405),
        ("GET", "/live/", 404),
        ("GET", "/live/../client.py", 404),
        ("GET", "/live/static%2Fhub.js", 200),
    ],
)
async def test_nothing_else_is_served(method: str, path: str, status: int) -> None:
    """A name is one of the files, whatever the path around it."""
    async with serving(Client()) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as browser:
        answer = await browser.request(method, path)

    assert answer.status_code == status
    assert method != "HEAD" or answer.content == b""
