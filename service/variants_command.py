"""`weir models variants`: the compiled graphs of a model beside each other, and one of them as a model of its own."""

from typing import TYPE_CHECKING, Any

import click

from service.authorship import authored

if TYPE_CHECKING:
    from models.manifest import Manifest
    from service.graph_timing import GraphTiming

_HEAD = (
    f"{'graph':<12}{'MB':>8}{'zipped':>8}{'1 row p50':>12}{'p99 us':>9}{'us/row of 256':>15}{'avg. prec.':>12}{'flips':>16}{'parity':>10}"
)


@click.command(name="variants")
@click.argument("reference", default="champion")
@click.option("--register", "wanted", metavar="VARIANT", help="Register this variant (pruned, int8-leaf) as a model of its own.")
@authored
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def variants(context: click.Context, reference: str, wanted: str | None, *, who: str, why: str, as_json: bool) -> None:
    """Compare the graphs of a model: size, time on this machine, average precision, decisions that would change.

    With --register the variant becomes a model of the registry, to be tried out and promoted like any other.

    \b
    Examples:
      weir models variants champion
      weir models variants champion --register pruned --why "for the branch's small machine"
    """  # noqa: D301 - click's mark for lines that stay as they are
    import msgspec

    from models.bundle import SERVING, verify_bundle
    from models.serving import decode_serving
    from models.variant_bundle import as_variant, variant_graphs
    from service.context import settings_of
    from service.graph_timing import time_graph
    from service.model_training import register_bundle
    from service.wiring import registry_of, verifying_key_of

    settings = settings_of(context).settings
    folder, key = registry_of(settings).resolve(reference), verifying_key_of(settings)
    if wanted is not None:
        manifest, files = as_variant(folder, key, wanted)
        found, _ = register_bundle(manifest, files, settings, who=who, why=why or f"variant {wanted} of {folder.name}")
        click.echo(msgspec.json.encode({"model": found}).decode() if as_json else f"{found} is registered: the variant {wanted}")
        return
    manifest, version, graphs = variant_graphs(folder, key)
    rows = decode_serving(verify_bundle(folder, key)[2][SERVING]).vectors
    timings = {name: time_graph(graph, rows) for name, graph in graphs.items()}
    table = [_row(manifest, name, graphs[name], timing) for name, timing in timings.items()]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({"model": f"{manifest.name}@{version}", "variants": table})).decode())
        return
    click.echo(_text(f"{manifest.name}@{version}", table))


def _row(manifest: "Manifest", name: str, graph: bytes, timing: "GraphTiming") -> dict[str, Any]:
    import zlib

    from models.bundle import FULL

    found = manifest.variants.get(name)
    metrics = manifest.metrics["ensemble"] if name == "full" else manifest.metrics["small"] if found is None else found.metrics
    parity = manifest.parity[FULL] if name == "full" else found.parity if found else None
    return {
        "variant": name if name != "full" else manifest.graph,
        "bytes": len(graph),
        "bytes_compressed": len(zlib.compress(graph, 6)),
        **{key: round(value, 1) for key, value in timing._asdict().items()},
        "average_precision": metrics["average_precision"],
        "decision_flips": found.n_flips if found else 0 if name == "full" else None,
        "rows": found.n_rows if found else None,
        "parity_largest_difference": parity.largest_difference if parity else None,
        "parity_rows": parity.n_rows if parity else None,
    }


def _text(model: str, table: list[dict[str, Any]]) -> str:
    def shown(value: Any, pattern: str) -> str:
        return "-" if value is None else format(value, pattern)

    lines = [
        f"{model}; average precision on the calibration slice, decisions on the newest days before it was trained",
        "",
        _HEAD,
    ]
    for row in table:
        flips = "-" if row["rows"] is None else f"{row['decision_flips']} of {row['rows']}"
        lines.append(
            f"{row['variant']:<12}{row['bytes'] / 1e6:>8.2f}{row['bytes_compressed'] / 1e6:>8.2f}"
            f"{row['one_row_p50_us']:>12.0f}{row['one_row_p99_us']:>9.0f}{row['row_of_256_us']:>15.1f}"
            f"{shown(row['average_precision'], '.4f'):>12}{flips:>16}{shown(row['parity_largest_difference'], '.0e'):>10}"
        )
    return "\n".join(lines)
