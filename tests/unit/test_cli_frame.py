import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from domain.label import SOURCES
from service import cli
from service.commands import label


def _commands(group=cli.weir, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        yield (*path, name), found
        if isinstance(found, click.Group):
            yield from _commands(found, (*path, name))


ALL = list(_commands())


def _run(*arguments, **environment):
    return CliRunner().invoke(cli.weir, list(arguments), env=environment)


def _main(*arguments, env=None):
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments], check=False, capture_output=True, text=True, env=env, timeout=60
    )


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_every_command_has_help_with_an_example(path, command):
    shown = _run(*path, "--help")

    assert shown.exit_code == 0
    assert "Example" in shown.output
    assert f"weir {path[0]}" in shown.output


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_every_option_says_what_it_does(path, command):
    assert all(parameter.help for parameter in command.params if isinstance(parameter, click.Option))


def test_help_of_the_whole_imports_nothing_heavy():
    found = subprocess.run(
        [sys.executable, "-c", "import sys, service.cli\ntry: service.cli.weir(['--help'])\nexcept SystemExit: print(*sys.modules)"],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    heavy = {"polars", "numpy", "numba", "faust", "aiokafka", "kafka", "redis", "onnxruntime", "xgboost", "sklearn", "optuna"}
    assert not heavy & set(found.stdout.split())


def test_an_unknown_command_is_refused_with_code_2():
    found = _main("frobnicate")

    assert found.returncode == 2
    assert "frobnicate" in found.stderr


def test_an_unknown_setting_is_one_sentence_and_code_2(tmp_path):
    found = _main("config", env={"WEIR_KAFKA_BOOTSTRAPP": "x", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})

    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert "WEIR_KAFKA_BOOTSTRAPP" in found.stderr
    assert not found.stdout


def test_a_value_out_of_range_names_setting_and_value(tmp_path):
    config = tmp_path / "weir.toml"
    config.write_text("[redis]\ntimeout_ms = 5\n")
    found = _main("--config", str(config), "config")

    assert found.returncode == 2
    assert "redis.timeout_ms" in found.stderr
    assert "5" in found.stderr


def test_config_masks_secrets_and_names_sources(tmp_path):
    secrets = {
        "WEIR_KAFKA_SASL_PASSWORD": "hunter2",
        "WEIR_REDIS_PASSWORD": "hunter2",
        "WEIR_MODEL_SIGNING_KEY": "hunter2",
        "WEIR_REDIS_URL": "redis://u:hunter2@h:1/0",
        "WEIR_EMBEDDED_DIRECTORY": str(tmp_path),
    }
    for arguments in (["config"], ["config", "--json"]):
        found = _run(*arguments, **secrets)
        assert found.exit_code == 0
        assert "hunter2" not in found.output
        assert "WEIR_REDIS_PASSWORD" in found.output
        assert "***" in found.output


def test_a_command_without_kafka_says_how_to_get_one(tmp_path):
    found = _run("topics", "check", WEIR_EMBEDDED_DIRECTORY=str(tmp_path))

    assert found.exit_code != 0
    assert "weir up" in str(found.exception)
    assert "WEIR_KAFKA_BOOTSTRAP" in str(found.exception)


def test_the_sources_of_labels_are_those_of_the_contract():
    assert label.SOURCES == SOURCES


def test_a_reader_that_goes_away_ends_the_command_quietly():
    found = subprocess.run(
        f"{sys.executable} -m service.cli config | head -c 1", shell=True, check=True, capture_output=True, text=True, timeout=60
    )

    assert found.stdout
    assert not found.stderr
