"""`weir explain`: one transaction, from its arrival to its labels."""

import asyncio

import click

_NO_SUCH = 1


@click.command(name="explain")
@click.argument("transaction_id")
@click.option("--json", "as_json", is_flag=True, help="Print the explanation as JSON, with every feature.")
@click.option("--all", "show_all", is_flag=True, help="Show every feature, not only the ones that counted most.")
@click.pass_context
def command(context: click.Context, *, transaction_id: str, as_json: bool, show_all: bool) -> None:
    """Say what arrived, what was answered and why, and what became known.

    Looks in the decision index, the archive (archive.directory) and the topics. Without the index an old transaction is searched
    in the archive, newest hours first. Card numbers are masked. Exit code 1: the transaction is not known.

    \b
    Examples:
      weir explain t4a58d8-000288643
      weir explain t4a58d8-000288643 --json | jq .decision_path
    """  # noqa: D301 - click's mark for lines that stay as they are
    import logging

    import msgspec

    from service.context import settings_of
    from service.explanation import search
    from service.explanation_text import print_explanation
    from service.progress import progress_bar

    for name in ("aiokafka", "kafka"):  # what they cannot do reaches the user as our own sentences
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    settings = settings_of(context).settings
    with progress_bar("searching") as show:
        found = asyncio.run(search(settings, transaction_id, on_progress=lambda _, share: show(share)))
    if found.explanation is None:
        click.echo(found.sentence, err=True)
        context.exit(_NO_SUCH)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found.explanation)).decode())
    else:
        print_explanation(found.explanation, show_all=show_all)
