"""The reference names what there is, and nothing else."""

import re
from pathlib import Path

import click
import pytest

from everfresh.cli.commands import everfresh

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text("utf-8")


def sections() -> dict[str, str]:
    """The text under each heading of a command."""
    parts = re.split(r"^## `everfresh (\w+)[^`]*`$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_has_its_section() -> None:
    """In the reference, in the order of the help."""
    assert list(sections()) == list(everfresh.commands)


@pytest.mark.parametrize("name", list(everfresh.commands))
def test_every_option_is_described(name: str) -> None:
    """Under its command."""
    command = everfresh.commands[name]
    commands = list(command.commands.values()) if isinstance(command, click.Group) else [command]
    options = {
        option
        for one in commands
        for parameter in one.params
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
    }

    assert set(re.findall(r"`(--?[a-z][a-z-]*)", sections()[name])) == options
