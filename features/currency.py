"""Amounts in the base currency: dated rates, exponents, one conversion for serving and training."""

import csv
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.errors import ConfigError

#: Decimal places of the minor unit where it is not 2 (ISO 4217).
_EXPONENTS: Final = {
    "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0, "UGX": 0, "UYI": 0,
    "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0, "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
}  # fmt: skip
_DAY_MS: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1)


def exponent(currency: str) -> int:
    """Return the decimal places of a currency's minor unit.

    >>> exponent("EUR"), exponent("JPY")
    (2, 0)
    """
    return _EXPONENTS.get(currency, 2)


class Rates:
    """What one unit of a currency is worth in the base currency, by day (UTC)."""

    def __init__(self, base_currency: str, table: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] | None = None) -> None:
        self.base_currency = base_currency
        self.major = 10 ** exponent(base_currency)
        """Minor units of one major unit of the base currency."""
        self._table = table or {}
        self._seen: dict[tuple[str, int], float] = {}

    @classmethod
    def load(cls, path: Path | None, base_currency: str) -> "Rates":
        """Return the rates of a CSV file with the columns date, currency, rate (base units per unit); None = base only.

        A rate holds from its day until the currency's next one; there is none before the first.

        Raises:
            ConfigError: The file cannot be read, or a line is not a date, a currency and a positive number.
        """
        if path is None:
            return cls(base_currency)
        found: dict[str, list[tuple[int, float]]] = {}
        try:
            with path.open(encoding="utf-8", newline="") as file:
                for number, line in enumerate(csv.DictReader(file), start=2):
                    day, currency, rate = _parse(line, f"{path} line {number}")
                    found.setdefault(currency, []).append((day, rate))
        except OSError as error:
            raise ConfigError(f"features.rates: cannot read {path}: {error.strerror}") from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise ConfigError(f"features.rates: {path} is not a CSV file in UTF-8: {error}") from error
        table = {}
        for currency, entries in found.items():
            entries.sort()
            table[currency] = (np.array([d for d, _ in entries], np.int64), np.array([r for _, r in entries]))
        return cls(base_currency, table)

    def factor(self, currency: str, time_ms: int) -> float:
        """Return base minor units per minor unit of `currency` on the day of `time_ms`; NaN if there is no rate."""
        if currency == self.base_currency:
            return 1.0
        key = (currency, time_ms // _DAY_MS)
        if (known := self._seen.get(key)) is not None:
            return known
        value = float("nan")
        if currency in self._table:
            days, rates = self._table[currency]
            place = int(np.searchsorted(days, key[1], side="right")) - 1
            if place >= 0:
                value = float(rates[place]) * 10.0 ** (exponent(self.base_currency) - exponent(currency))
        if len(self._seen) > 100_000:
            self._seen.clear()
        self._seen[key] = value
        return value

    def digest(self) -> str:
        """Return 16 hex digits of the table, for the manifest of a model."""
        content = sha256(self.base_currency.encode())
        for currency in sorted(self._table):
            days, rates = self._table[currency]
            content.update(currency.encode() + days.tobytes() + rates.tobytes())
        return content.hexdigest()[:16]


def to_base(amount_minor: NDArray[np.int64], factor: NDArray[np.float64], largest: int) -> NDArray[np.int64]:
    """Return amounts in base minor units, int64, at most `largest`; -1 where the factor is NaN."""
    with np.errstate(invalid="ignore"):
        converted = np.minimum(np.rint(amount_minor * factor), float(largest))
        known: NDArray[np.int64] = np.where(np.isnan(factor), -1.0, converted).astype(np.int64)
    return known


def _parse(line: dict[str, str], place: str) -> tuple[int, str, float]:
    try:
        day = (datetime.fromisoformat(line["date"]).replace(tzinfo=UTC).date() - _EPOCH).days
        currency, rate = line["currency"].strip(), float(line["rate"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"features.rates: {place} must be date,currency,rate with a header of these names; found {dict(line)}") from error
    if not (len(currency) == 3 and currency.isalpha() and currency.isupper() and 0 < rate < float("inf")):
        raise ConfigError(f"features.rates: {place} needs an ISO 4217 code and a rate above 0; found {currency!r}, {rate}")
    return day, currency, rate
