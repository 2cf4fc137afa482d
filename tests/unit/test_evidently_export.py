"""Archived vectors for Evidently, and what is said where it is not installed."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from domain.errors import ConfigError, HistoryError
from features.feature_row import FeatureRow, encode_row
from features.spec import COLUMN, N_FEATURES, FeatureSettings, fingerprint
from service import evidently_export
from service.evidently_export import archived_vectors, write_evidently
from tests.unit.archive_sample import add_file, make_archive, record

SPEC = fingerprint(FeatureSettings())


def _row(i, *, kind=0, spec=SPEC, with_vector=True):
    vector = np.full(N_FEATURES, i, np.float32)
    vector[COLUMN["card_distance"]] = np.nan
    content = vector.astype("<f4").tobytes() if with_vector else b""
    return encode_row(FeatureRow(f"t{i}", kind, 0, 0, i, 1_000 + i, spec, (0, 0, -1, -1), content))


@pytest.fixture
def archive(tmp_path):
    folder = make_archive(tmp_path / "archive")
    rows = [_row(i) for i in range(10)] + [_row(3), _row(4, kind=1), _row(11, spec="0" * 16), _row(12, with_vector=False)]
    add_file(folder, "features.v1", [record(n, 5, row) for n, row in enumerate(rows)])
    fields = {
        "card_id": "c", "event_time_ms": 1, "scored_at_ms": 1, "decision": "approve", "tier": "full", "flags": [], "model": "m@1",
        "variant": "champion", "policy": "p", "spec": SPEC,
    }  # fmt: skip
    scores = [json.dumps(fields | {"transaction_id": f"t{i}", "probability": i / 100, "source": [0, i]}).encode() for i in range(8)]
    add_file(folder, "scores.v1", [record(n, 5, score) for n, score in enumerate(scores)])
    return folder


def test_each_vector_of_the_span_and_spec_is_there_once_with_its_probability(archive):
    found = archived_vectors(archive, SPEC, 1_002, 1_009)

    assert found["card_count_1h"].to_list() == [2, 3, 4, 5, 6, 7, 8]
    assert found["probability"].to_list() == [0.02, 0.03, 0.04, 0.05, 0.06, 0.07, None]
    assert found["card_distance"].null_count() == 7
    assert found["event_category"].to_list() == ["2", "3", "4", "5", "6", "7", "8"]
    assert found.width == N_FEATURES + 1


def test_many_rows_are_thinned_evenly(archive, monkeypatch):
    monkeypatch.setattr(evidently_export, "MOST_ROWS", 4)

    assert archived_vectors(archive, SPEC, 0, 2_000)["card_count_1h"].to_list() == [0, 3, 6, 9]


def test_a_span_without_vectors_is_refused_with_a_sentence(archive):
    with pytest.raises(HistoryError, match=r"holds no vector of feature spec .* choose another"):
        archived_vectors(archive, SPEC, 5_000, 6_000)


def test_the_lock_of_evidently_fits_what_weir_is_installed_with():
    """So that it can be installed beside weir without replacing anything."""
    extra = _versions("evidently")

    assert {
        name: version for lock in ("runtime", "train", "web") for name, version in _versions(lock).items() if name in extra
    }.items() <= extra.items()
    assert {"evidently", "pandas", "pyarrow"} <= extra.keys()


def _versions(lock: str) -> dict[str, str]:
    text = (Path(__file__).parents[2] / "requirements" / f"{lock}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==(\S+)", text, re.MULTILINE))


def test_without_evidently_one_sentence_tells_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "evidently", None)
    frame = pl.DataFrame({"card_count_1h": [1.0]})

    with pytest.raises(ConfigError, match=r"install it: pip install --require-hashes --no-deps -r requirements/evidently\.txt"):
        write_evidently(frame, frame, tmp_path / "drift.html")
