"""What docs/models.md shows can be done as it stands there."""

import re
from pathlib import Path

import click
import pytest

from service import cli
from tests.unit.registry_samples import Installation

TEXT = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")


def test_the_policy_of_the_docs_can_be_set(tmp_path: Path):
    installation = Installation(tmp_path)
    installation.add("weir")
    path = tmp_path / "policy.toml"
    path.write_text(re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)[1])

    assert installation.run("policy", "set", str(path)).exit_code == 0
    assert "list stolen-cards: decline 2 card_id values" in installation.run("policy", "show").output


@pytest.mark.parametrize("group", ["models", "policy"])
def test_the_docs_name_every_command_and_no_other(group: str):
    command = cli.weir.get_command(click.Context(cli.weir), group)
    row = [line for line in TEXT.splitlines() if line.startswith("| `weir")]
    named = {
        name for line in row if f"`weir {group} " in line for name in re.findall(rf"`(?:weir {group} )?([a-z-]+)[^`]*`", line.split("|")[1])
    }  # fmt: skip

    assert named == set(command.commands)
