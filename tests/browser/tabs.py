"""What a test asks of a browser, whichever it is: tabs that share what the tabs of one person share."""

from typing import Any, Protocol

from everfresh.testing.waiting import until

# What the page's own probe has noted; see stage.py.
WATCH = "() => globalThis.violations ?? []"


class Tab(Protocol):
    """A page that is open."""

    problems: list[str]
    """What the console was told as an error or a warning."""

    def goto(self, url: str) -> None:
        """Open the address and wait until it is loaded."""
        ...

    def run(self, function: str, *arguments: Any) -> Any:  # noqa: ANN401 - JSON, both ways
        """Call the JavaScript function with the arguments; what it returns, awaited, as JSON has it."""
        ...

    def press(self, text: str) -> None:
        """Type the text on the keyboard."""
        ...

    def front(self) -> None:
        """Look at it; the browser hides the others."""
        ...

    def close(self) -> None:
        """Close it, as a person does."""
        ...


class Person(Protocol):
    """Somebody with a browser of their own: their tabs share cookies, workers and locks, and nobody else's do."""

    def tab(self) -> Tab:
        """A new tab, in front."""
        ...

    def close(self) -> None:
        """Close all of it."""
        ...


class Browser(Protocol):
    """A real browser."""

    name: str

    def person(self) -> Person:
        """A new one."""
        ...


def wait_for(tab: Tab, function: str, *arguments: Any, what: str) -> Any:  # noqa: ANN401 - JSON, both ways
    """The first true answer of the function."""
    return until(lambda: tab.run(function, *arguments), what=what)


def wait_for_text(tab: Tab, selector: str, text: str) -> None:
    """Wait until the element reads so."""
    seen = "(selector, text) => document.querySelector(selector)?.textContent.trim() === text"
    wait_for(tab, seen, selector, text, what=f"{text!r} in {selector}")


def wait_for_attribute(tab: Tab, name: str, value: str, selector: str = "live-entry") -> None:
    """Wait until the element has the attribute with that value."""
    seen = "(selector, name, value) => document.querySelector(selector)?.getAttribute(name) === value"
    wait_for(tab, seen, selector, name, value, what=f"{name}={value!r} on {selector}")


def violations(tab: Tab) -> list[str]:
    """What the page's policy has refused."""
    found: list[str] = tab.run(WATCH)
    return found


def opened(person: Person, url: str) -> Tab:
    """The page in a new tab, live."""
    tab = person.tab()
    tab.goto(url)
    wait_for_attribute(tab, "connection", "live")
    return tab
