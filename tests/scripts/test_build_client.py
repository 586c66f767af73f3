"""What browsers are served is whole in the wheel."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from scripts.build_client import BUILT, ROOT, module_of


def test_a_script_becomes_a_module_that_says_what_it_is(tmp_path: Path) -> None:
    """With its version and its licence, and what it defines exported."""
    (tmp_path / "dist").mkdir()
    (tmp_path / "package.json").write_text('{"name": "idiomorph",\n  "version": "1.2.3"}', "utf-8")
    (tmp_path / "dist" / "idiomorph.min.js").write_text("var Idiomorph={};", "utf-8")

    module = module_of(tmp_path)

    assert module.startswith("// idiomorph 1.2.3 (Zero-Clause BSD")
    assert module.endswith("var Idiomorph={};\nexport { Idiomorph };\n")


def test_the_wheel_has_every_module(tmp_path: Path) -> None:
    """Those of the client, and the one that is built from npm, which git does not know."""
    if not BUILT.exists():
        pytest.skip("it is not built here: python scripts/build_client.py")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {Path(name).name for name in archive.namelist() if name.startswith("everfresh/push/static/")}

    assert names == {path.name for path in BUILT.parent.glob("*.js")}
    assert {"live-entry.js", "worker.js", "idiomorph.js"} <= names
