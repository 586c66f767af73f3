"""Fedora's own client, in an environment of its own: its licence is not ours, so it is only run, as a program.

It is installed once, beside the packages of the environment that runs the tests, and stays there.
"""

import fcntl
import subprocess
import sys
import venv
from pathlib import Path

from tests.needing import lacking

VERSION = "3.9.1"
_FOLDER = Path(sys.prefix) / f"fedora-messaging-{VERSION}"
_INSTALLS_WITHIN_S = 240.0
_CONFIG = """
amqp_url = "{url}/%2F?connection_attempts=3&retry_delay=1"
topic_prefix = ""
publish_exchange = "{exchange}"
passive_declares = false

[tls]

[client_properties]
app = "a test"

[exchanges."{exchange}"]
type = "topic"
durable = true
auto_delete = false
arguments = {{}}

[log_config]
version = 1
disable_existing_loggers = true
"""


def client() -> Path:
    """The program; the test skips without it, and fails where it must not be missing."""
    program = _FOLDER / "bin" / "fedora-messaging"
    problem = ""
    if not (_FOLDER / ".installed").exists():
        problem = _install()
    if problem:
        lacking(f"fedora-messaging {VERSION} could not be installed, so nobody has tried it with us: {problem}")
    return program


def config(folder: Path, url: str, exchange: str) -> Path:
    """Its configuration, in a file."""
    file = folder / "fedora.toml"
    file.write_text(_CONFIG.format(url=url, exchange=exchange))
    return file


def _install() -> str:
    """Install it; what went wrong, empty when nothing did."""
    try:
        with _FOLDER.with_suffix(".lock").open("w") as lock:
            # Another process of these tests may be at it.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (_FOLDER / ".installed").exists():
                return ""
            venv.create(_FOLDER, clear=True, with_pip=True)
            command = [_FOLDER / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            made = subprocess.run(
                [*command, f"fedora-messaging=={VERSION}"],
                capture_output=True,
                text=True,
                check=False,
                timeout=_INSTALLS_WITHIN_S,
            )
            if made.returncode == 0:
                (_FOLDER / ".installed").touch()
                return ""
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return made.stderr[-500:]
