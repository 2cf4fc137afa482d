"""The third view: how good the answers were, from the archive."""

from pathlib import Path

from features.currency import exponent
from monitoring.quality import QualityReport
from service.quality_log import QualityLog
from service.web.answers import State
from service.web.quality_answers import QualityAnswer

_HOW = "start `weir archive`, which writes answers and labels into Parquet files; labels come with `weir label` or on labels.v1"


class QualityView:
    """Keeps the last report."""

    def __init__(self, log: QualityLog, archive: Path, base_currency: str) -> None:
        """Prepare.

        Args:
            log: Reads the archive.
            archive: Its folder.
            base_currency: ISO 4217.
        """
        self._log = log
        self._archive = archive
        self._base_currency = base_currency
        self._trouble = ""
        self.report: QualityReport | None = None

    def refresh(self, now_ms: int, threshold: float | None) -> None:
        """Read what is new, if there is an archive; it takes time.

        Args:
            now_ms: Wall clock.
            threshold: The champion's, for review.

        Raises:
            HistoryError: The archive cannot be read.
            ConfigError: The folder `monitoring.directory` cannot be written.
        """
        if not self._has_archive:
            self.report = None
            return
        self.report = self._log.refresh(now_ms, threshold=threshold)
        self._trouble = ""

    def trouble(self, sentence: str) -> None:
        """Say why the archive cannot be read; the last report stays."""
        self._trouble = sentence

    def answer(self, now_ms: int, threshold: float | None) -> QualityAnswer:
        """Return the view.

        Args:
            now_ms: Wall clock.
            threshold: The champion's, for review.
        """
        state, sentence, advice = self._words()
        return QualityAnswer(
            at_ms=now_ms, has_archive=self._has_archive, state=state, sentence=sentence, advice=advice, currency=self._base_currency,
            currency_digits=exponent(self._base_currency), threshold=threshold, report=self.report,
        )  # fmt: skip

    @property
    def _has_archive(self) -> bool:
        return self._archive.is_dir()

    def _words(self) -> tuple[State, str, str]:
        if self._trouble:
            return (
                "attention",
                f"The archive {self._archive} cannot be read: {self._trouble}",
                "Mend what the sentence names; it is tried again.",
            )
        if not self._has_archive:
            return "empty", f"How good the answers are is not known: there is no archive at {self._archive}.", f"To know it, {_HOW}."
        if self.report is None:
            return "empty", f"The archive {self._archive} is being read.", ""
        if not self.report.days:
            return "empty", self.report.sentence, f"The archive {self._archive} holds no answer yet: {_HOW}."
        return "well", self.report.sentence, ""
