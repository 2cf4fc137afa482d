"""From a simulated history to a champion that scores, by the same functions and commands as a user's."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from domain.decision import Score, Tier
from domain.errors import TrainingRefused
from features.history import read_history, write_history
from features.offline import replay
from models.options import DAY_MS
from service.cli import weir
from service.model_training import Registered, train_and_register
from service.settings import Settings, load
from service.training_options import chosen_options
from service.wiring import load_champion, rates_of
from simulate.generate import generate
from tests.unit.foreign_networks import FEATURES, network
from tests.unit.models_synthetic import SMALL

#: Two threads, as in production: what is learnt must not depend on which is faster.
OPTIONS = msgspec.structs.replace(SMALL, min_calibration_frauds=10, warm_up_days=20, n_jobs=2)
PROGRAM = """
import sys, msgspec
from pathlib import Path
from features.history import read_history
from service.model_training import train_and_register
from service.settings import load
from tests.integration.test_training import OPTIONS
settings = load(environ={"WEIR_MODEL_REGISTRY": sys.argv[2], "WEIR_MODEL_SIGNING_KEY": "k"}).settings
print(train_and_register(read_history(Path(sys.argv[1])), settings, options=OPTIONS).reference)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def history(place: Path) -> Path:
    path = place / "history.parquet"
    write_history(generate(n_days=60, n_cards=500, seed=5, per_day=1.5, fraud_share=0.015), path)
    return path


def settings_in(place: Path) -> Settings:
    return load(environ={"WEIR_MODEL_REGISTRY": str(place / "registry"), "WEIR_MODEL_SIGNING_KEY": "k"}).settings


@pytest.fixture(scope="module")
def registered(place: Path, history: Path) -> Registered:
    return train_and_register(read_history(history), settings_in(place), options=OPTIONS)


def run(place: Path, *arguments: str) -> tuple[int, str]:
    environment = {"WEIR_MODEL_REGISTRY": str(place / "registry"), "WEIR_MODEL_SIGNING_KEY": "k"}
    found = CliRunner().invoke(weir, list(arguments), env=environment)
    return found.exit_code, found.output


def test_the_first_model_is_the_champion_and_finds_fraud(place: Path, history: Path, registered: Registered):
    frame = read_history(history)
    scorer = load_champion(settings_in(place))
    cut = int(frame["event_time_ms"].max()) - 5 * DAY_MS
    keep = (frame["event_time_ms"] >= cut).to_numpy()
    vectors = replay(frame, settings_in(place).features.definition(), rates_of(settings_in(place)), keep=keep)
    truth = frame.filter(pl.Series(keep))["story"].is_not_null().to_numpy()
    p = scorer.score(vectors)

    assert registered.is_champion
    assert f"{scorer.name}@{scorer.version}" == registered.reference
    assert p[truth].mean() > 5 * p[~truth].mean()
    alerts = vectors[np.argsort(-p)[:3]]
    assert all(reason.text for reasons in scorer.reasons(alerts, budget_ms=100.0) for reason in reasons)


def test_two_processes_train_the_same_bundle(place: Path, history: Path, registered: Registered):
    other = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(history), str(place / "other")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )

    assert other.stdout.strip() == registered.reference


def test_a_label_that_becomes_known_after_the_moment_of_training_changes_nothing(place: Path, history: Path):
    frame = read_history(history)
    to_ms = int(frame["event_time_ms"].max()) - 6 * DAY_MS
    late = (pl.col("label_time_ms") >= to_ms).fill_null(value=False)
    blind = frame.with_columns(
        is_fraud=pl.when(late).then(False).otherwise(pl.col("is_fraud")),
        label_time_ms=pl.when(late).then(None).otherwise(pl.col("label_time_ms")),
    )
    changed = blind.filter(pl.col("event_time_ms") < to_ms)

    versions = [
        train_and_register(one, settings_in(place / name), options=OPTIONS, to_ms=to_ms).reference
        for name, one in (("all", frame), ("blind", changed))
    ]

    assert versions[0] == versions[1]


def test_a_history_that_is_too_short_is_refused_in_one_sentence(place: Path, history: Path):
    frame = read_history(history)
    short = frame.filter(pl.col("event_time_ms") < frame["event_time_ms"].min() + 9 * DAY_MS)

    with pytest.raises(TrainingRefused, match=r"too few known frauds: \d+ in the newer half"):
        train_and_register(short, settings_in(place / "short"), options=OPTIONS)


def test_the_commands_list_show_and_promote_models(place: Path, registered: Registered):
    code, listed = run(place, "models", "list", "--json")
    assert code == 0
    assert [(row["model"], row["aliases"]) for row in json.loads(listed)] == [(registered.reference, ["champion"])]

    assert "signature and files verified" in run(place, "models", "show", "champion")[1]
    assert run(place, "models", "promote", registered.reference)[1].startswith(f"{registered.reference} is the champion")
    assert "empty" in run(place / "nowhere", "models", "list")[1]


def test_train_takes_members_by_name_and_other_choices_from_a_file(place: Path, history: Path, tmp_path: Path):
    (tmp_path / "options.toml").write_text("most_good_rows = 4000\n[sizes]\nboosting_rounds = 20\nsmall_rounds = 10\nmlp_epochs = 3\n")

    code, printed = run(
        place / "chosen", "train", str(history), "--members", "xgboost,mlp", "--options", str(tmp_path / "options.toml"),
        "--min-frauds", "10", "--json",
    )  # fmt: skip
    found = json.loads(printed[printed.index("{") :])

    assert code == 0
    assert set(found["member_weights"]) == {"xgboost", "mlp"}
    assert set(found["variants"]) == {"small", "pruned", "int8-leaf"}


def test_a_search_writes_options_that_training_takes_and_features_are_reported(place: Path, history: Path, tmp_path: Path):
    (tmp_path / "options.toml").write_text("most_good_rows = 1000\n[sizes]\nboosting_rounds = 5\n")
    common = [str(history), "--options", str(tmp_path / "options.toml"), "--min-frauds", "10"]

    code, printed = run(
        place,
        "search",
        *common,
        "--trials",
        "1",
        "--sampler",
        "random",
        "--most-rounds",
        "8",
        "--out",
        str(tmp_path / "best.toml"),
        "--json",
    )
    found = json.loads(printed)
    report = run(place, "select", *common, "--top", "3")[1]

    assert code == 0
    assert len(found["trials"]) == 1
    assert chosen_options(settings_in(place), tmp_path / "best.toml").boosting.depth == found["best"]["options"].get("boosting", {}).get(
        "depth", 4
    )
    assert "strongest 10" in report
    assert "without merchant_labels" in report
    assert "of all features: " in report


def test_a_network_joins_the_champion_and_its_variants_are_shown_and_registered(
    place: Path, history: Path, registered: Registered, tmp_path: Path
):
    (tmp_path / "net.onnx").write_bytes(network())
    (tmp_path / "net.toml").write_text(f"missing = 0.0\n[inputs]\nx = {json.dumps(FEATURES)}\n")

    code, printed = run(
        place, "models", "add-member", str(tmp_path / "net.onnx"), str(history), "--member", "net",
        "--mapping", str(tmp_path / "net.toml"), "--json",
    )  # fmt: skip
    joined = json.loads(printed[printed.index("{") :])
    shown = json.loads(run(place, "models", "variants", joined["model"], "--json")[1])
    kept = json.loads(run(place, "models", "variants", joined["model"], "--register", "pruned", "--json")[1])

    assert code == 0
    assert "net" in joined["member_weights"]
    assert joined["champion"] is False
    assert [row["variant"] for row in shown["variants"]] == ["full", "small", "pruned", "int8-leaf"]
    assert all(row["row_of_256_us"] > 0 and row["average_precision"] > 0 for row in shown["variants"])
    assert kept["model"] not in (joined["model"], registered.reference)
    assert "flips" in run(place, "models", "variants", kept["model"])[1]


def test_train_says_what_is_missing_with_exit_code_2(place: Path, tmp_path: Path):
    write_history(generate(n_days=12, n_cards=30, seed=1), tmp_path / "tiny.parquet")

    found = subprocess.run(
        [sys.executable, "-m", "service", "train", str(tmp_path / "tiny.parquet")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert found.returncode == 2
    assert found.stderr.startswith("weir: too few known frauds")
    assert len(found.stderr.strip().splitlines()) == 1


def test_evaluate_judges_answers_by_the_story(place: Path, history: Path, registered: Registered, tmp_path: Path):
    frame = read_history(history)
    settings = settings_in(place)
    scorer = load_champion(settings)
    frame_tail = frame.tail(2_000)
    keep = np.arange(len(frame)) >= len(frame) - 2_000
    p = scorer.score(replay(frame, settings.features.definition(), rates_of(settings), keep=keep))
    lines = [
        msgspec.json.encode(
            Score(
                transaction_id=id_,
                card_id=card,
                event_time_ms=time_ms,
                scored_at_ms=1,
                probability=probability,
                decision=outcome,
                tier=Tier.FULL,
                flags=(),
                model=registered.reference,
                variant="champion",
                policy=scorer.policy_version,
                spec=scorer.spec,
                source=(0, place_),
            )
        )
        for place_, (id_, card, time_ms, probability, outcome) in enumerate(
            zip(
                frame_tail["transaction_id"],
                frame_tail["card_id"],
                frame_tail["event_time_ms"],
                p.tolist(),
                scorer.decide(p, Tier.FULL),
                strict=True,
            )
        )
    ]
    (tmp_path / "scores.jsonl").write_bytes(b"\n".join(lines))

    code, printed = run(place, "evaluate", str(history), "--scores", str(tmp_path / "scores.jsonl"), "--json")
    found = json.loads(printed)

    assert code == 0
    assert (found["answers"], found["distinct"], found["unknown"], found["repeated"]) == (2_000, 2_000, 0, 0)
    assert found["frauds"] == frame_tail["story"].is_not_null().sum()
    assert found["models"]["ensemble"]["roc_auc"]["mean"] > 0.7
