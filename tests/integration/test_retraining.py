"""`weir retrain` on a small archive, end to end: a candidate that passes goes into the shadow, one that is worse stays where it is."""

import json
from pathlib import Path

import msgspec
import polars as pl
import pytest
from click.testing import CliRunner

from features.history import normalised
from models.gate import read_verdict
from models.options import DAY_MS
from models.registry import Registry
from service.cli import weir
from service.history_records import HistoryRecords
from service.model_training import train_and_register
from service.retraining_log import RetrainingLog
from service.settings import ModelSettings, Settings
from simulate.generate import START_MS, generate
from tests.unit.archive_sample import add_file, make_archive, record
from tests.unit.models_synthetic import SMALL

N_DAYS = 46
TRAINED_MS = START_MS + 36 * DAY_MS
OPTIONS = msgspec.structs.replace(SMALL, days=14, alert_rate=0.04, n_jobs=2, members=("xgboost", "logistic_regression"), variants=())


def archived(directory: Path, history: pl.DataFrame) -> Path:
    """What `weir archive` would have written had the history been streamed."""
    records, end_ms = HistoryRecords(history), START_MS + (N_DAYS + 60) * DAY_MS
    n, n_labels = len(history), int((records.label_times_ms < START_MS + N_DAYS * DAY_MS).sum())
    make_archive(directory)
    for topic, (_, values) in (("transactions.v1", records.transactions(0, n)), ("labels.v1", records.labels(0, n_labels))):
        add_file(directory, topic, [record(offset, end_ms, value) for offset, value in enumerate(values)])
    return directory


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    return normalised(generate(n_days=N_DAYS, n_cards=200, seed=5, per_day=1.0, fraud_share=0.1), "simulated")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("retraining")


@pytest.fixture(scope="module")
def champion(folder: Path, history: pl.DataFrame) -> str:
    """Trained ten days before the archive ends."""
    settings = Settings(model=ModelSettings(registry=str(folder / "registry"), signing_key="a key"))
    return train_and_register(history, settings, options=OPTIONS, to_ms=TRAINED_MS).reference


@pytest.fixture(scope="module")
def run(folder: Path, history: pl.DataFrame, champion: str):
    """Runs `weir retrain --json` on the archive; returns exit code and what it prints."""
    archive = archived(folder / "archive", history)
    environment = {
        "WEIR_MODEL_REGISTRY": str(folder / "registry"), "WEIR_MODEL_SIGNING_KEY": "a key", "WEIR_EMBEDDED_DIRECTORY": str(folder),
        "WEIR_ARCHIVE_DIRECTORY": str(archive), "WEIR_POLICY_ALERT_RATE": "0.04", "WEIR_GATE_FOLDS": "1",
        "WEIR_GATE_ONE_ROW_MS": "1000", "WEIR_GATE_BATCH_ROW_US": "100000",  # this machine may be busy
    }  # fmt: skip

    def run(*arguments: str):
        found = CliRunner().invoke(weir, ["retrain", "--json", *arguments], env=environment)
        assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
        return found.exit_code, json.loads(found.stdout)

    return run


@pytest.fixture
def registry(folder: Path) -> Registry:
    return Registry(folder / "registry")


def test_a_worse_candidate_is_registered_with_its_verdict_and_not_tried(run, registry, champion, tmp_path):
    worse = tmp_path / "worse.toml"
    worse.write_text('without = ["card_*", "merchant_*", "device_*", "ip_*", "event_log_amount"]\nmembers = ["logistic_regression"]\n')

    code, found = run("--options", str(worse))

    assert (code, found["outcome"]) == (1, "refused")
    assert "average_precision" in found["sentence"]
    assert read_verdict(registry.beside(found["model"])).outcome == "refused"
    assert (registry.state().champion, registry.state().rollout) == (champion, None)


def test_the_champions_recipe_on_newer_days_goes_into_the_shadow(run, registry, champion, folder, history):
    code, found = run("--why", "a drift alarm")

    assert (code, found["outcome"]) == (0, "shadow"), found["sentence"]
    assert found["champion"] == champion == registry.state().champion
    assert (registry.state().rollout.mode, registry.state().rollout.model) == ("shadow", found["model"])
    assert found["n_transactions"] == len(history)
    event = registry.history()[-1]
    assert (event.event, event.who) == ("shadow", "weir retrain")
    assert "the gate passes" in event.why
    assert "a drift alarm" in event.why
    assert read_verdict(registry.beside(found["model"])).champion == champion
    candidate = next(entry.manifest for entry in registry.entries() if entry.reference == found["model"])
    assert candidate.options == OPTIONS
    assert candidate.window.to_ms > TRAINED_MS
    assert RetrainingLog(folder / "registry").last().model == found["model"]
