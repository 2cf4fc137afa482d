"""Runs as a real TensorBoard reads them, and as a real Weights & Biases records them offline. Run by `make tracking`, which brings both."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto.wandb_internal_pb2 import Record

from features.history import normalised, write_history
from service.cli import weir
from service.tensorboard_files import write_tensorboard
from service.tracking import Point, Tracked
from service.wandb_run import write_wandb
from simulate.generate import generate

pytestmark = pytest.mark.filterwarnings("default")

_BLOCK = 32_768
RUN = Tracked(
    "weir@0123456789ab", {"options.days": "28", "options.boosting.depth": "4"}, {"ensemble.average_precision": 0.5},
    [
        Point("xgboost_log_loss", "learnt_days", 1, 0.25), Point("xgboost_log_loss", "learnt_days", 2, 0.125),
        Point("xgboost_log_loss", "unseen_days", 1, 0.5), Point("average_precision", "ensemble", 1, 0.75),
    ],
    "# A card\nwith *words*",
)  # fmt: skip


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def scalars(folder: Path) -> Mapping[str, list[tuple[int, float]]]:
    found = read(folder)
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_tensorboard_reads_every_line_over_its_steps_the_results_and_the_words(tmp_path):
    place = write_tensorboard(RUN, tmp_path)

    assert place == tmp_path / RUN.name
    assert scalars(place / "learnt_days") == {"xgboost_log_loss": [(1, 0.25), (2, 0.125)]}
    assert scalars(place / "unseen_days") == {"xgboost_log_loss": [(1, 0.5)]}
    assert scalars(place / "ensemble") == {"average_precision": [(1, 0.75)]}
    assert scalars(place) == {"results_average_precision/ensemble": [(0, 0.5)]}
    words = {tag: read(place).Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in read(place).Tags()["tensors"]}
    assert words["run/text_summary"] == RUN.text
    assert "| options.boosting.depth | 4 |" in words["settings/text_summary"]


def test_a_run_of_the_same_name_is_written_beside_the_one_before(tmp_path):
    first = write_tensorboard(RUN, tmp_path)
    second = write_tensorboard(RUN._replace(results={"ensemble.average_precision": 0.25}), tmp_path)

    assert second == tmp_path / f"{RUN.name}-2"
    assert scalars(first) == {"results_average_precision/ensemble": [(0, 0.5)]}


def recorded(place: Path) -> list[Record]:
    """The records of an offline run: a head of 7 bytes, then blocks of 32 KiB of records, each with its sum, length and kind."""
    [file] = place.glob("*.wandb")
    content, found, part, at = file.read_bytes(), [], b"", 7
    while at + 7 <= len(content):
        if _BLOCK - at % _BLOCK < 7:  # too little left for a head
            at += _BLOCK - at % _BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        part += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in {1, 4}:  # whole, or the last part
            record = Record()
            record.ParseFromString(part)
            found.append(record)
            part = b""
    return found


def test_weights_and_biases_has_the_run_offline_with_its_lines_settings_and_results(tmp_path):
    place = write_wandb(RUN, tmp_path)

    assert place.parent == tmp_path / "wandb"
    records = recorded(place)
    rows = [
        {(item.key or "".join(item.nested_key)): json.loads(item.value_json) for item in record.history.item}
        for record in records if record.WhichOneof("record_type") == "history"
    ]  # fmt: skip
    lines = [{key: value for key, value in row.items() if not key.startswith("_")} for row in rows]
    assert lines == [
        {"xgboost_log_loss/step": 1, "xgboost_log_loss/learnt_days": 0.25, "xgboost_log_loss/unseen_days": 0.5},
        {"xgboost_log_loss/step": 2, "xgboost_log_loss/learnt_days": 0.125},
        {"average_precision/step": 1, "average_precision/ensemble": 0.75},
    ]
    [run] = [record.run for record in records if record.WhichOneof("record_type") == "run"][:1]
    assert (run.display_name, run.project, run.notes) == (RUN.name, "weir", RUN.text)
    assert {item.key: json.loads(item.value_json) for item in run.config.update if item.key in RUN.settings} == RUN.settings
    summaries = [record.summary for record in records if record.WhichOneof("record_type") == "summary"]
    summary = {item.key: item.value_json for found in summaries for item in found.update}
    assert summary["ensemble.average_precision"] == "0.5"


def test_weights_and_biases_talks_to_nobody_while_it_records(tmp_path):
    """In a process of its own whose every way out is a closed port: a run that wanted to send would say so or wait."""
    program = (
        "import sys; from pathlib import Path; from tests.extras.test_tracking import RUN; from service.wandb_run import write_wandb; "
        "print(write_wandb(RUN, Path(sys.argv[1])))"
    )
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HOME": str(tmp_path),
        "WANDB_BASE_URL": "http://127.0.0.1:9",
    }

    found = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, env=environment, check=True, timeout=240
    )

    assert len(recorded(Path(found.stdout.strip().splitlines()[-1]))) > 3


def test_a_training_with_the_option_writes_its_curve(tmp_path):
    history, options = tmp_path / "h.parquet", tmp_path / "options.toml"
    write_history(normalised(generate(n_days=46, n_cards=100, seed=5, fraud_share=0.1), "simulated"), history)
    options.write_text('days = 14\nmin_calibration_frauds = 20\nmembers = ["xgboost"]\nvariants = []\nsizes.boosting_rounds = 12\n')
    environment = {"WEIR_MODEL_REGISTRY": str(tmp_path / "registry"), "WEIR_EMBEDDED_DIRECTORY": str(tmp_path)}
    line = ["train", str(history), "--options", str(options), "--tensorboard", str(tmp_path / "runs"), "--json"]

    found = CliRunner().invoke(weir, line, env=environment)

    assert found.exit_code == 0, found.exception
    place = tmp_path / "runs" / json.loads(found.stdout)["model"]
    assert f"tensorboard --logdir {tmp_path / 'runs'}" in found.stderr
    assert [step for step, _ in scalars(place / "unseen_days")["xgboost_log_loss"]] == list(range(1, 13))
