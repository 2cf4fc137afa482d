"""The model card: what a model was made from, how it did, and what it cannot do, in words."""

from datetime import UTC, datetime

from models.manifest import Manifest


def model_card(manifest: Manifest, sizes: dict[str, int]) -> str:
    """Return the card in Markdown.

    Args:
        manifest: Of the bundle; its `files` are not needed.
        sizes: Bytes of each compiled graph.
    """
    window, options = manifest.window, manifest.options
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in manifest.member_weights.items())
    rows = [
        f"| {name} | " + " | ".join(_number(found.get(key)) for key in ("average_precision", "roc_auc")) + " |"
        for name, found in manifest.metrics.items()
    ]
    variants = [
        f"| {name} | {found.n_bytes:,} | {found.n_bytes_compressed:,} | {_number(found.metrics['average_precision'])} | "
        f"{found.n_flips:,} of {found.n_rows:,} |"
        for name, found in manifest.variants.items()
    ]
    graphs = "; ".join(f"{name} {size / 1e6:.2f} MB" for name, size in sizes.items())
    limits = [f"| {tier} | {found.review:.6f} | {found.decline:.6f} |" for tier, found in sorted(manifest.policy.thresholds.items())]
    return "\n".join(
        [
            f"# {manifest.name}",
            "",
            "Scores card transactions for fraud. For use with a person behind every decline.",
            "",
            "## Data",
            (
                f"Trained as of {_day(window.to_ms)} on {window.n_rows:,} transactions of {_day(window.from_ms)} to "
                f"{_day(window.to_ms - window.maturity_ms)} with {window.n_frauds:,} frauds known by then."
            ),
            f"A transaction trains when it is {window.maturity_ms // 86_400_000} days old; late reports are weighed in.",
            "",
            "## How it did",
            (
                f"On the calibration slice (from {_day(window.calibration_from_ms)}: {window.n_calibration_rows:,} transactions, "
                f"{window.n_calibration_frauds:,} frauds), by members fitted on the days before it. The slice also set calibration and "
                "weights: this is a first look, not a test."
            ),
            "",
            "| model | average precision | ROC AUC |",
            "|---|---|---|",
            *rows,
            "",
            f"Weights: {weights}. Graphs: {graphs}.",
            "",
            "## Variants",
            "| graph | bytes | compressed | average precision | decisions unlike the full graph's |",
            "|---|---|---|---|---|",
            *variants,
            "",
            "`weir models variants` measures how fast each is on a machine.",
            "",
            "## Thresholds",
            f"Alerts {options.alert_rate:.2%}, of them declined {options.decline_share:.0%}, on the newest {options.threshold_days} days.",
            "",
            "| tier | review from | decline from |",
            "|---|---|---|",
            *limits,
            "",
            "## Limits",
            "Fraud that is never reported is good to this model. Reasons explain its booster, not the whole ensemble.",
            "Not assessed here: fairness between groups, and how it does on days to come. The gate's verdict, if there is one, says more.",
            "",
        ]
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _day(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d")
