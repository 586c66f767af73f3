"""Debian's Firefox, driven by WebDriver BiDi, which it speaks itself: Playwright drives only a Firefox of its own."""

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.browser.tabs import Browser

PROGRAM = Path("/usr/bin/firefox-esr")
ANSWER_WITHIN_S = 30
# Nothing that Firefox does by itself belongs to a test.
PREFERENCES = {
    "app.normandy.enabled": False,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.search.update": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.min_background_timeout_value": 10,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "",
    "toolkit.telemetry.enabled": False,
}


class Refused(Exception):
    """Firefox has answered with an error."""


class Session:
    """A conversation with Firefox."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._n_sent = 0
        self.tabs: dict[str, FirefoxTab] = {}

    def ask(self, method: str, **params: Any) -> Any:  # noqa: ANN401 - JSON, both ways
        """The answer to the command; what is told meanwhile is taken note of."""
        self._n_sent += 1
        self._socket.send(json.dumps({"id": self._n_sent, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(ANSWER_WITHIN_S))
            if message.get("id") == self._n_sent:
                if message["type"] == "error":
                    raise Refused(f"{method}: {message['message']}")
                return message["result"]
            if message.get("method") == "log.entryAdded":
                self._note(message["params"])

    def _note(self, entry: dict[str, Any]) -> None:
        tab = self.tabs.get(entry["source"].get("context", ""))
        if tab is not None and entry["level"] in {"error", "warn"}:
            tab.problems.append(entry["text"] or "")


class FirefoxTab:
    """A tab of Firefox."""

    def __init__(self, session: Session, user: str) -> None:
        self._session = session
        self.problems: list[str] = []
        self.context: str = session.ask("browsingContext.create", type="tab", userContext=user)["context"]
        session.tabs[self.context] = self

    def goto(self, url: str) -> None:
        self._session.ask("browsingContext.navigate", context=self.context, url=url, wait="complete")

    def run(self, function: str, *arguments: Any) -> Any:  # noqa: ANN401 - JSON, both ways
        answer = self._session.ask(
            "script.callFunction",
            functionDeclaration=f"async (text) => JSON.stringify(await ({function})(...JSON.parse(text)))",
            arguments=[{"type": "string", "value": json.dumps(arguments)}],
            target={"context": self.context},
            awaitPromise=True,
        )
        if answer["type"] == "exception":
            raise Refused(answer["exceptionDetails"]["text"])
        result = answer["result"]
        return json.loads(result["value"]) if result["type"] == "string" else None

    def press(self, text: str) -> None:
        strokes = [{"type": way, "value": key} for key in text for way in ("keyDown", "keyUp")]
        actions = [{"type": "key", "id": "keyboard", "actions": strokes}]
        self._session.ask("input.performActions", context=self.context, actions=actions)

    def front(self) -> None:
        self._session.ask("browsingContext.activate", context=self.context)

    def close(self) -> None:
        del self._session.tabs[self.context]
        self._session.ask("browsingContext.close", context=self.context)


class FirefoxPerson:
    """A user context of Firefox: what others would call a container."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._user: str = session.ask("browser.createUserContext")["userContext"]

    def tab(self) -> FirefoxTab:
        return FirefoxTab(self._session, self._user)

    def close(self) -> None:
        self._session.ask("browser.removeUserContext", userContext=self._user)


class Firefox:
    """Firefox."""

    name = "firefox"

    def __init__(self, session: Session) -> None:
        self._session = session

    def person(self) -> FirefoxPerson:
        return FirefoxPerson(self._session)


@contextmanager
def firefox() -> Iterator[Browser]:
    """Firefox while the block runs, with a profile of its own."""
    with ExitStack() as stack:
        profile = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True)))
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
        profile.joinpath("user.js").write_text("\n".join(lines), "utf-8")
        process = subprocess.Popen(
            [PROGRAM, "--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", str(profile)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "MOZ_CRASHREPORTER_DISABLE": "1"},
        )
        stack.callback(_end, process)
        # Its standard error says where it listens, and goes on; a pipe that nobody reads would stop it.
        address = _address(process)
        stack.enter_context(_drained(process))
        socket = stack.enter_context(connect(f"{address}/session", proxy=None, max_size=None))
        session = Session(socket)
        session.ask("session.new", capabilities={})
        session.ask("session.subscribe", events=["log.entryAdded"])
        yield Firefox(session)


def _address(process: subprocess.Popen[str]) -> str:
    for line in process.stderr or ():
        found = re.search(r"WebDriver BiDi listening on (ws://\S+)", line)
        if found:
            return found[1]
    raise AssertionError(f"Firefox ended with {process.wait()} before it listened")


@contextmanager
def _drained(process: subprocess.Popen[str]) -> Iterator[None]:
    def drain() -> None:
        for _ in process.stderr or ():
            pass

    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    try:
        yield
    finally:
        _end(process)
        thread.join(10)
        if process.stderr is not None:
            process.stderr.close()


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
