"""Everything that can go wrong, grouped by what the caller does next.

WeirError
├── RejectedRecord           dead-letter it; a retry cannot help (.reason, one sentence without card data)
│   ├── MalformedRecord      the bytes are not one JSON object
│   ├── InvalidRecord        well formed, but a field breaks a rule (.field)
│   ├── CardNumberRejected   card_id is a card number (.digits, for masking only; never printed)
│   └── UnknownTransaction   a label whose transaction is not in the decision index
├── Unavailable              back off and retry; the record is fine
│   └── StoreUnavailable     the registry's object store; also an OSError, as of a disk that is away
├── ModelError               keep the model already serving
│   ├── BundleRejected       unsigned, altered, too new or incomplete
│   ├── PolicyRejected       unsigned, altered, or not a policy; the one in force stays
│   ├── FeatureSpecMismatch  (.trained_on, .built_with)
│   └── TrainingRefused      the history cannot carry a model; the message says what is missing
├── NoChampion               the registry has no champion: the worker does not start
├── StaleTopic               a topic was deleted and created anew: end the process, start again
├── HistoryError             a history or mapping file cannot be used as it is
└── ConfigError              do not start
"""


class WeirError(Exception):
    """Root of all errors that weir raises on purpose; its text is fit for a terminal."""


class RejectedRecord(WeirError):
    """The record goes to the dead-letter topic.

    Attributes:
        reason: One sentence with field, value found and what to do; never card data.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MalformedRecord(RejectedRecord):
    """The bytes are not one JSON object."""


class InvalidRecord(RejectedRecord):
    """A field is missing, of the wrong type or outside its range.

    Attributes:
        field: Name of the offending field.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class CardNumberRejected(RejectedRecord):
    """`card_id` is a payment card number.

    Attributes:
        digits: The number as found, so that the dead letter can be masked. Never print it.
    """

    def __init__(self, digits: str) -> None:
        super().__init__("card_id looks like a card number (13 to 19 digits, Luhn check passes); send an opaque token instead")
        self.digits = digits


class UnknownTransaction(RejectedRecord):
    """A label names a transaction that the decision index does not hold."""

    def __init__(self) -> None:
        super().__init__(
            "unknown_transaction: the label's transaction_id is not in the decision index; "
            "send the label after its transaction, or replay it later"
        )


class Unavailable(WeirError):
    """Kafka or Redis does not answer now; the record is fine, try again."""


class StoreUnavailable(Unavailable, OSError):
    """The object store of the registry cannot be used now; whoever copes with a disk that is away copes with this."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.strerror = sentence


class ModelError(WeirError):
    """A model cannot be used; the one already serving stays."""


class BundleRejected(ModelError):
    """The bundle is unsigned, altered, too new or incomplete."""


class PolicyRejected(ModelError):
    """The live policy is unsigned, altered or not a policy; the one in force stays."""


class FeatureSpecMismatch(ModelError):
    """The model was trained on other features than this process computes."""

    def __init__(self, *, trained_on: str, built_with: str) -> None:
        super().__init__(
            f"model was trained on feature spec {trained_on}, this process computes {built_with}: "
            "train again with these settings, or start with the settings of the model"
        )
        self.trained_on = trained_on
        self.built_with = built_with


class TrainingRefused(ModelError):
    """The history cannot carry a model."""


class NoChampion(WeirError):
    """The registry has no champion."""


class StaleTopic(WeirError):
    """A topic this process consumes was deleted and created anew."""


class HistoryError(WeirError):
    """A history, mapping or label file cannot be used as it is."""


class ConfigError(WeirError):
    """The settings or the surroundings forbid a start."""
