"""`weir models add-member`: a network that was trained elsewhere joins the ensemble."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.times import TIME_MS, format_time

if TYPE_CHECKING:
    from models.foreign import ForeignMapping


@click.command(name="add-member")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("history", type=click.Path(exists=True, path_type=Path))
@click.option("--of", "reference", default="champion", show_default=True, help="The model that it joins.")
@click.option("--member", default="network", show_default=True, help="Name of the new member.")
@click.option("--mapping", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Which input is which features (TOML).")
@click.option("--from", "from_ms", type=TIME_MS, help="As of `weir train`.")
@click.option("--to", "to_ms", type=TIME_MS, help="As of `weir train`.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def add_member(
    context: click.Context,
    file: Path,
    history: Path,
    reference: str,
    member: str,
    mapping: Path | None,
    from_ms: int | None,
    to_ms: int | None,
    *,
    as_json: bool,
) -> None:
    """Add the ONNX network FILE (from PyTorch, Keras, TensorFlow ...) to a model's members and register the new model.

    The other members are trained again on HISTORY with the model's own options, the network is not: it is merged into the
    one graph, calibrated and weighed with them, and proved. It must not have seen the calibration days.

    \b
    Examples:
      weir models add-member network.onnx var/history.parquet --mapping network.toml
      weir models add-member network.onnx var/history.parquet --of weir@1f2e3d4c5b6a --member mlp2
    """  # noqa: D301 - click's mark for lines that stay as they are
    from features.history import read_history
    from models.foreign_checks import check_name
    from models.members_file import foreign_members
    from models.onnx_member import OnnxMember
    from service.context import settings_of
    from service.model_training import train_and_register
    from service.training_screen import show_trained, stages_shown
    from service.wiring import registry_of, verifying_key_of

    settings = settings_of(context).settings
    check_name(member)
    manifest, foreign = foreign_members(registry_of(settings).resolve(reference), verifying_key_of(settings))
    foreign[member] = OnnxMember.read(file.read_bytes(), _mapping(mapping), str(file))
    frame = read_history(history)
    with stages_shown() as progress:
        found = train_and_register(
            frame, settings, options=manifest.options, name=manifest.name, from_ms=from_ms, to_ms=to_ms, foreign=foreign, progress=progress
        )
    start = found.trained.manifest.window.calibration_from_ms
    click.echo(f"note: {member} must not have been trained on days from {format_time(start)} on: they calibrate and weigh it", err=True)
    show_trained(found, as_json=as_json)


def _mapping(file: Path | None) -> "ForeignMapping":
    import msgspec

    from domain.errors import ConfigError
    from models.foreign import ForeignMapping
    from service.training_options import read_toml

    if file is None:
        return ForeignMapping()
    try:
        return msgspec.convert(read_toml(file), ForeignMapping)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: {error}; docs/training.md shows a mapping") from error
