"""From the records of a transaction to its explanation: what each feature meant, how the answer came about, what is missing."""

from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple, cast, get_args

import numpy as np
from numpy.typing import NDArray

from domain.card_mask import mask_card_numbers, mask_card_values
from domain.decision import Flag, Outcome, Tier
from domain.errors import ModelError
from features.spec import FEATURES, fingerprint
from models.decision_path import Answer, decision_path
from models.explainer import Explainer
from models.policy import Thresholds
from monitoring.explanation import ExplainedFeature, Explanation, Threshold
from monitoring.figures import duration, moment, share
from service.explained_index import Indexed
from service.policies import known_policies
from service.settings import Settings
from service.transaction_records import Fields, TransactionRecords, Vector, flags_of
from service.wiring import registry_of, verifying_key_of
from stream.topics import FEATURE_ROWS, TRANSACTIONS

_OUTCOMES: Final = get_args(Outcome)


class _Model(NamedTuple):
    explainer: Explainer | None
    problem: str


def explanation_of(
    settings: Settings, transaction_id: str, records: TransactionRecords, indexed: Indexed | None, missing: list[str]
) -> Explanation:
    """Return the explanation. It opens the model that answered and takes some tenths of a second; card numbers are masked.

    Args:
        settings: Name the registry and the features.
        transaction_id: Whose records.
        records: What was found.
        indexed: What the decision index knows; None: nothing.
        missing: What could not be looked into, a sentence each.
    """
    score = records.first_score or (indexed.score(transaction_id) if indexed is not None else None)
    transaction = records.transaction or (indexed.transaction(transaction_id) if indexed is not None else None)
    answer = _answer(score)
    model = _Model(None, "") if answer is None or not answer.model else _model(settings, answer.model)
    thresholds = _thresholds(settings, model.explainer, answer)
    vector = _vector_of(records, score)
    features, why_not = _features(settings, vector, model.explainer, answer)
    return Explanation(
        transaction_id=mask_card_numbers(transaction_id),
        found_in=records.found_in if records.transaction is not None or records.scores else "index",
        transaction=_masked(transaction),
        score=_masked(_with_reasons(score, records.alert)),
        features=features,
        decision_path=_path(records, indexed, answer, thresholds),
        model=answer.model or None if answer is not None else None,
        policy=answer.policy or None if answer is not None else None,
        thresholds=None if thresholds is None else Threshold(review=thresholds.review, decline=thresholds.decline),
        base_currency=model.explainer.manifest.base_currency if model.explainer is not None else settings.features.base_currency,
        source=records.source,
        labels=sorted(records.labels, key=lambda label: label.at_ms),
        missing=[*missing, *_missing(records, answer), *filter(None, (model.problem, why_not))],
    )


def _answer(score: Fields | None) -> Answer | None:
    """Return the answer of a score, None if it is not one."""
    if score is None or score.get("decision") not in _OUTCOMES or score.get("tier") not in set(Tier):
        return None
    rule, control_p = score.get("rule"), score.get("control_p")
    return Answer(
        cast("Outcome", score["decision"]),
        float(cast("float", score.get("probability", float("nan")))),
        Tier(str(score["tier"])),
        flags_of(score),
        str(score.get("model", "")),
        str(score.get("policy", "")),
        None if rule is None else str(rule),
        control_p if isinstance(control_p, float) else None,
    )


def _model(settings: Settings, reference: str) -> _Model:
    try:
        return _Model(_opened(registry_of(settings).resolve(reference), verifying_key_of(settings)), "")
    except (ModelError, OSError) as error:
        return _Model(
            None, f"The model {reference} cannot be opened ({error}), so there are no contributions, usual ranges and thresholds."
        )


@lru_cache(maxsize=4)
def _opened(folder: Path, key: bytes) -> Explainer:
    """Return an opened bundle; its folder is named by its content."""
    return Explainer(folder, key)


def _thresholds(settings: Settings, explainer: Explainer | None, answer: Answer | None) -> Thresholds | None:
    """Return the thresholds that decided, if the policy is the bundle's or one that was set."""
    if explainer is None or answer is None:
        return None
    policy = known_policies(settings).named(answer.policy, answer.model, explainer.manifest.policy)
    return None if policy is None else policy.thresholds.get(answer.tier)


def _vector_of(records: TransactionRecords, score: Fields | None) -> Vector | None:
    """Return the vector that the answer was given on: with as much history as it had."""
    is_degraded = score is not None and Flag.DEGRADED.value in flags_of(score)
    fitting = [vector for vector in records.vectors if (Flag.DEGRADED.value in vector.flags) == is_degraded]
    return next(iter([*fitting, *records.vectors]), None)


def _features(
    settings: Settings, vector: Vector | None, explainer: Explainer | None, answer: Answer | None
) -> tuple[list[ExplainedFeature], str]:
    """Return the features, the strongest contribution first, and what is missing of them in one sentence."""
    if vector is None:
        return [], (
            f"Its feature vector was not found: {FEATURE_ROWS.name} keeps vectors for 2 days and of a share of "
            f"{share(settings.features.vector_share)} of the transactions (features.vector_share); weir archive keeps them for good."
        )
    values = np.frombuffer(vector.content, np.dtype("<f4")).astype(np.float32)
    if vector.spec != fingerprint(settings.features.definition()) or len(values) != len(FEATURES):
        return [], f"Its feature vector is of another feature spec ({vector.spec}): explain it with the settings and version of then."
    parts = None
    if explainer is not None and answer is not None and answer.tier is not Tier.RULES and explainer.manifest.spec == vector.spec:
        parts = explainer.contributions(values, answer.tier)
    order = range(len(FEATURES)) if parts is None else np.argsort(-np.abs(parts), kind="stable").tolist()
    return [_feature(i, values, parts, explainer) for i in order], ""


def _feature(i: int, values: NDArray[np.float32], parts: NDArray[np.float32] | None, explainer: Explainer | None) -> ExplainedFeature:
    feature, value = FEATURES[i], float(values[i])
    usual = None if explainer is None else explainer.usual.get(feature.name)
    return ExplainedFeature(
        name=feature.name,
        description=feature.meaning,
        value=None if np.isnan(value) else value,
        unit=feature.unit,
        usual_low=None if usual is None else usual.low,
        usual_high=None if usual is None else usual.high,
        contribution=None if parts is None else round(float(parts[i]), 4),
        is_unusual=usual is not None and usual.is_unusual(value),
    )


def _path(records: TransactionRecords, indexed: Indexed | None, answer: Answer | None, thresholds: Thresholds | None) -> list[str]:
    path = []
    source = records.source
    event_ms = (records.transaction or {}).get("event_time_ms", None if indexed is None else indexed.entry.event_ms)
    if source is not None:
        at = f" at {moment(source.append_ms)}" if source.append_ms is not None else ""
        path.append(
            f"It came as record {source.offset} of partition {source.partition} of {source.topic}{at}{_delay(event_ms, source.append_ms)}."
        )
    if indexed is not None and not indexed.is_applied:
        path.append("It is claimed by a worker, but not applied yet: its features do not hold it so far.")
    if answer is not None:
        path += decision_path(answer, thresholds)
    first = records.first_score
    for score in records.scores:
        again = _answer(score)
        if score is not first and again is not None and Flag.RESTATED.value in again.flags:
            path.append(f"Answered once more with its history: {again.outcome}, at {share(again.probability)}.")
    if records.labels:
        newest = max(records.labels, key=lambda label: label.at_ms)
        by = f" by {newest.source}" if newest.source else ""
        after = f", {duration(newest.at_ms - event_ms)} after it" if isinstance(event_ms, int) else ""
        path.append(f"Labelled {'fraud' if newest.is_fraud else 'genuine'}{by} at {moment(newest.at_ms)}{after}.")
    return path


def _delay(event_ms: object, append_ms: int | None) -> str:
    if not isinstance(event_ms, int) or append_ms is None:
        return ""
    late_ms = append_ms - event_ms
    return f", {duration(abs(late_ms))} {'after' if late_ms >= 0 else 'before'} its event time"


def _missing(records: TransactionRecords, answer: Answer | None) -> list[str]:
    found = []
    if records.transaction is None:
        found.append(
            "What arrived was not found, only what the decision index keeps of it: "
            f"{TRANSACTIONS.name} keeps 7 days, weir archive keeps it for good."
        )
    if answer is None:
        found.append("No answer to it was found: a worker has not scored it yet, or the answer is older than what Kafka keeps.")
    elif not records.scores:
        found.append("Its answer is that of the decision index; the record on scores.v1 was not found.")
    elif records.is_alert and records.alert is None:
        found.append("It was an alert, but the alert with its reasons was not found.")
    if not records.labels:
        found.append("No label has come: nobody has said whether it was fraud.")
    return found


def _with_reasons(score: Fields | None, alert: Fields | None) -> Fields | None:
    if alert is None:
        return score
    return {**(score or {}), "reasons": alert.get("reasons", [])} if score is not None else alert


def _masked(fields: Fields | None) -> Fields | None:
    return None if fields is None else cast("Fields", mask_card_values(fields))
