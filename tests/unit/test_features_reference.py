"""The reference says what the list of features says."""

import re
from pathlib import Path

from features.measures import MEASURES, measure_of, window_of
from features.reference import reference
from features.spec import FEATURES, FeatureSettings, fingerprint

FILE = Path(__file__).parents[2] / "docs" / "features.md"


def test_the_reference_is_up_to_date():
    assert FILE.read_text("utf-8") == reference(), "stale: python -m features.reference > docs/features.md"


def test_every_feature_has_a_formula_and_every_formula_a_feature():
    assert {measure_of(feature) for feature in FEATURES} == set(MEASURES)


def test_every_feature_stands_in_the_reference_once_with_its_column():
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", reference(), re.MULTILINE)

    assert sorted((int(place), name) for place, name in rows) == sorted((i, f.name) for i, f in enumerate(FEATURES))


def test_a_name_is_entity_measure_and_window():
    for feature in FEATURES:
        window = window_of(feature)
        measure = measure_of(feature)
        if measure in {"counterparties", "since_counterparty"}:
            other = "merchant" if feature.entity == "card" else "card"
            measure = f"{other}s" if measure == "counterparties" else f"since_{other}"
        tail = f"_{window}" if window is not None and not measure.endswith(f"_{window}") else ""

        assert feature.name == f"{feature.entity or 'event'}_{measure}{tail}"


def test_formulas_are_not_in_the_fingerprint():
    # Of the definition as released; it changes with every feature, and then state and models must be made anew.
    assert fingerprint(FeatureSettings()) == "847ae3e9a06bff2f"


def test_tables_are_well_formed():
    for table in re.findall(r"(?:^\|.*\n)+", reference(), re.MULTILINE):
        assert len({row.count("|") for row in table.splitlines()}) == 1
