"""What people see: content that changes in place, and nothing that they have done is lost."""

from pathlib import Path

import pytest

from tests.browser.stage import Stage
from tests.browser.tabs import Person, Tab, opened, violations, wait_for, wait_for_attribute, wait_for_text

pytestmark = [pytest.mark.browser, pytest.mark.uncounted]

ALLOWED = ["'none'", "live-entry"]
# How content is drawn, and the Trusted Types that it needs.
KINDS = [("new", "'none'"), ("plain", "'none'"), ("old", "live-entry")]
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
FORM = """<p id="round">{round}</p>
<div id="list" tabindex="0"><p>1</p><p>2</p><p>3</p><p>4</p><p>5</p><p>6</p><p>7</p><p>8</p><p>9</p></div>
<label>Said <input id="said" value="server"></label>
<label>Typed before <input name="typed"></label>
<label>Asked <input type="checkbox" name="asked"></label>
<label>Chosen <select name="chosen"><option>x</option><option>y</option></select></label>
<details><summary>More</summary><p>{round} of it</p></details>"""


@pytest.mark.parametrize("allowed", ALLOWED)
def test_a_new_value_is_drawn_in_place_under_a_strict_policy(person: Person, stage: Stage, allowed: str) -> None:
    """No reload, no violation, no word on the console, whether the page allows a policy of ours or none at all."""
    tab = opened(person, stage.page('<live-entry topic="a">one</live-entry>', allowed=allowed))

    stage.put(a="<b>two</b>")

    wait_for_text(tab, "live-entry b", "two")
    wait_for_attribute(tab, "state", "fresh")
    assert violations(tab) == []
    assert tab.problems == []


@pytest.mark.parametrize(("kind", "allowed"), KINDS)
def test_what_a_person_has_done_survives_an_update(person: Person, stage: Stage, kind: str, allowed: str) -> None:
    """Focus, caret, typed text, choices, scroll and opened details stay, however the content is drawn."""
    stage.put(a=FORM.format(round=0))
    body = f'<live-entry topic="a">{FORM.format(round=0)}</live-entry>'
    tab = opened(person, stage.page(body, allowed=allowed, kind=kind))
    tab.run("() => document.querySelector('[name=typed]').focus()")
    tab.press("words")
    tab.run("() => document.querySelector('[name=asked]').click()")
    tab.run(
        "() => { document.querySelector('[name=chosen]').value = 'y'; document.querySelector('details').open = true }"
    )
    tab.run("() => { document.querySelector('#list').scrollTop = 20 }")
    tab.run("() => document.querySelector('#said').focus()")
    tab.press("I wrote")
    tab.run("() => document.querySelector('#said').setSelectionRange(2, 5)")

    for n in range(1, 21):
        stage.put(a=FORM.format(round=n))
    wait_for_text(tab, "#round", "20")
    tab.press("X")

    assert tab.run("() => document.activeElement.id") == "said"
    said = tab.run(
        "() => { const { value, selectionStart } = document.querySelector('#said'); return [value, selectionStart] }"
    )
    assert said[0].replace("server", "") == "I Xte"
    assert said[1] == 3
    assert tab.run("() => document.querySelector('[name=typed]').value") == "words"
    assert tab.run("() => document.querySelector('[name=asked]').checked") is True
    assert tab.run("() => document.querySelector('[name=chosen]').value") == "y"
    assert tab.run("() => document.querySelector('details').open") is True
    assert tab.run("() => document.querySelector('#list').scrollTop") == 20
    assert tab.run("() => document.querySelector('details p').textContent") == "20 of it"


@pytest.mark.parametrize(("kind", "allowed"), KINDS)
def test_nothing_in_the_html_runs(person: Person, stage: Stage, kind: str, allowed: str) -> None:
    """A template that forgets to escape shows nonsense, and runs nothing."""
    tab = opened(person, stage.page('<live-entry topic="a">one</live-entry>', allowed=allowed, kind=kind))

    stage.put(
        a='<p id="p">two</p><script>ran = 1</script><iframe srcdoc="x"></iframe>'
        '<a id="link" href="java\tscript:ran=1">go</a>'
        '<svg><script>ran = 1</script><circle r="1"/></svg><object data="x"></object><img id="i" alt="" src="data:,">'
        '<meta http-equiv="refresh" content="9;url=/x"><link rel="stylesheet" href="/x.css"><style>p { }</style>'
        '<live-entry topic="b" updates="https://elsewhere.example/"></live-entry>'
    )

    wait_for_text(tab, "#p", "two")
    left = "live-entry :is(script, iframe, object, meta, link, style, [updates])"
    assert tab.run("(left) => document.querySelectorAll(left).length", left) == 0
    assert tab.run("() => document.querySelector('#link').getAttribute('href')") in {None, ""}
    assert tab.run("() => document.querySelector('circle').namespaceURI") == "http://www.w3.org/2000/svg"
    assert tab.run("() => ran") == 0
    assert violations(tab) == []


def test_handlers_in_the_html_are_taken_out_without_set_html(visitor: Person, stage: Stage) -> None:
    """Where our own list does it, it does it before the content is in the page."""
    page = stage.page('<live-entry topic="a">one</live-entry>', allowed="live-entry", kind="old")
    tab = opened(visitor, page)

    stage.put(
        a='<p id="p" onclick="ran = 1" data-kept="yes">two</p><unknown>x</unknown><form action="javascript:0"></form>'
    )

    wait_for_text(tab, "#p", "two")
    tab.run("() => document.querySelector('#p').click()")
    assert tab.run("() => document.querySelector('#p').getAttributeNames()") == ["id", "data-kept"]
    assert tab.run("() => document.querySelector('form').getAttributeNames()") == []
    assert tab.run("() => document.querySelector('unknown')") is None


def test_a_value_is_shown_as_text_and_told_to_the_page(person: Person, stage: Stage) -> None:
    """Without HTML the value itself; whoever listens may draw it in another way."""
    tab = opened(person, stage.page('<live-entry topic="value">?</live-entry>'))
    tab.run("() => document.addEventListener('live-entry:update', (event) => (globalThis.update = event.detail))")

    stage.put(value="<i>1</i>")
    wait_for_text(tab, "live-entry", "<i>1</i>")
    stage.put(value={"n": [2]})
    wait_for_text(tab, "live-entry", '{"n":[2]}')
    assert tab.run("() => update.value") == {"n": [2]}
    assert tab.run("() => update.topic") == "value"

    tab.run("() => document.addEventListener('live-entry:update', (event) => event.preventDefault())")
    stage.put(value=3)
    wait_for(tab, "() => update.value === 3", what="the third value")
    assert tab.run("() => document.querySelector('live-entry').textContent") == '{"n":[2]}'


def test_a_hidden_page_waits_and_then_draws_the_newest_only(person: Person, stage: Stage) -> None:
    """Nobody looks: nothing is drawn. Somebody looks: once, and the newest."""
    url = stage.page('<live-entry topic="a">one</live-entry>')
    tab = opened(person, url)
    tab.run(
        "() => { globalThis.updates = []; addEventListener('live-entry:update', (e) => updates.push(e.detail.html)) }"
    )
    other = opened(person, url)
    hide(tab, is_hidden=True)

    for value in ("two", "three", "four"):
        stage.put(a=value)
    wait_for_text(other, "live-entry", "four")
    assert tab.run("() => [document.hidden, document.querySelector('live-entry').textContent]") == [True, "one"]

    hide(tab, is_hidden=False)
    wait_for_text(tab, "live-entry", "four")
    assert tab.run("() => updates") == ["four"]


def hide(tab: Tab, *, is_hidden: bool) -> None:
    """Hide the tab behind others or look at it. Firefox does it by itself; a driven Chromium shows all tabs at once."""
    if not is_hidden:
        tab.front()
    tab.run(
        """(isHidden) => {
            if (document.hidden === isHidden) return;
            Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        is_hidden,
    )


def test_elements_come_and_go(visitor: Person, stage: Stage) -> None:
    """One that is added is live from the page's position on; one that is taken out is not followed any more."""
    tab = opened(visitor, stage.page('<live-entry topic="a">one</live-entry>'))
    stage.put(b="two")

    tab.run("""() => {
        const added = document.createElement("live-entry");
        added.setAttribute("topic", "b");
        document.querySelector("main").append(added);
    }""")
    wait_for_text(tab, 'live-entry[topic="b"]', "two")
    tab.run("() => document.querySelector('live-entry[topic=b]').setAttribute('topic', 'c')")
    stage.put(c="three")
    wait_for_text(tab, 'live-entry[topic="c"]', "three")
    tab.run("() => document.querySelector('live-entry[topic=a]').remove()")
    stage.put(a="unseen", c="four")

    wait_for_text(tab, 'live-entry[topic="c"]', "four")
    assert stage.streams.n_open == 1


def test_an_element_inside_shows_the_newer_of_two(visitor: Person, stage: Stage) -> None:
    """What is drawn around it may be older than what it has been told itself."""
    inner = '<live-entry topic="b" version="{}">{}</live-entry>'
    tab = opened(visitor, stage.page(f'<live-entry topic="a"><p>out</p>{inner.format(1, "one")}</live-entry>'))
    stage.put(b="newer")
    wait_for_text(tab, 'live-entry[topic="b"]', "newer")

    stage.put(a=f"<p>out again</p>{inner.format(1, 'old')}")

    wait_for_text(tab, "p", "out again")
    assert tab.run("() => document.querySelector('live-entry[topic=b]').textContent") == "newer"
    assert tab.run("() => document.querySelector('live-entry[topic=b]').getAttribute('state')") == "fresh"


def test_updates_are_announced_when_asked(visitor: Person, stage: Stage) -> None:
    """`announce` alone: the content is a polite region. With words: they are said. Without: silence."""
    body = (
        '<live-entry topic="a" announce>one</live-entry><live-entry topic="b" announce="The stock has changed">one'
        '</live-entry><live-entry topic="c">one</live-entry>'
    )
    tab = opened(visitor, stage.page(body))

    stage.put(a="two", b="two", c="two")

    wait_for_text(tab, '[role="status"]', "The stock has changed")
    live = "() => [...document.querySelectorAll('live-entry')].map((element) => element.getAttribute('aria-live'))"
    assert tab.run(live) == ["polite", None, None]
    assert violations(tab) == []


def test_axe_finds_nothing(person: Person, stage: Stage) -> None:
    """Neither in a page that waits nor in one that was drawn anew."""
    body = f'<live-entry topic="a" announce="Changed">{FORM.format(round=0)}</live-entry>'
    tab = opened(person, stage.page(body))
    stage.put(a=FORM.format(round=1))
    wait_for_text(tab, "#round", "1")
    wait_for_text(tab, '[role="status"]', "Changed")

    tab.run(f"() => {{ {AXE.read_text('utf-8')} }}")
    found = tab.run("async () => (await axe.run()).violations.map(({ id, nodes }) => [id, nodes.length])")

    assert found == []


def test_the_page_is_right_without_javascript(person: Person, stage: Stage) -> None:
    """The element only adds."""
    tab = person.tab()
    body = '<live-entry topic="a"><p>one</p></live-entry><noscript><p id="without">without</p></noscript>'

    tab.goto(stage.page(body, has_script=False))

    assert tab.run("() => document.querySelector('live-entry p').checkVisibility()") is True
    assert tab.run("() => document.querySelector('#without').checkVisibility()") is True, "there was script"
    assert tab.run("() => document.querySelector('live-entry').hasAttribute('connection')") is False
