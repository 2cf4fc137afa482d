"""`weir dlq`: look at dead letters, send them again, or mark them as handled."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import click

from service.times import TIME_MS

if TYPE_CHECKING:
    from domain.dead_letter_action import Action
    from service.dead_letter_session import Session
    from service.dead_letter_verdict import Step
    from service.dead_letters import Stretch
    from stream.connection import KafkaConnection

# Written out, so that the help needs no heavy import; a test keeps them equal to domain.errors and stream.topics.
ERRORS = ("MalformedRecord", "InvalidRecord", "CardNumberRejected", "UnknownTransaction")
KINDS = ("transactions", "labels")
_LONGEST_REASON = 500


@click.group(name="dlq")
def command() -> None:
    """Look at dead letters, send them again, or mark them as handled.

    A dead letter is named by its place, topic:partition:offset. Every action leaves a line on control.v1: who, when,
    what, why.

    \b
    Examples:
      weir dlq list --summary
      weir dlq show transactions:0:17
      weir dlq replay --error UnknownTransaction
    """  # noqa: D301 - click's mark for lines that stay as they are


def _filters(*, has_reason: bool) -> Callable[[Any], Any]:
    """Return a decorator that adds the options that select dead letters."""
    options = [
        click.option("--topic", "kind", type=click.Choice(KINDS), help="Only dead letters of transactions, or of labels."),
        click.option("--error", type=click.Choice(ERRORS), help="Only with this error."),
        click.option("--field", metavar="NAME", help="Only those where this field offended."),
        click.option("--since", "since_ms", type=TIME_MS, help="Dead since then (included)."),
        click.option("--until", "until_ms", type=TIME_MS, help="Dead until then (not included)."),
        click.option("--contains", metavar="TEXT", help="Only with this text in key or content, for example an id."),
        click.option("--limit", type=click.IntRange(min=1), help="The first so many."),
    ]
    if has_reason:
        options.append(click.option("--reason", metavar="TEXT", help="Only with this text in the reason."))

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@command.command(name="list")
@_filters(has_reason=True)
@click.option("--all", "is_all", is_flag=True, help="Also what was replayed or discarded.")
@click.option("--summary", is_flag=True, help="Only how many, by topic, error and field.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def list_letters(context: click.Context, /, *, is_all: bool, summary: bool, as_json: bool, limit: int | None, **filters: Any) -> None:
    """List dead letters that wait for somebody, oldest first in each topic.

    \b
    Examples:
      weir dlq list --since 2026-03-01 --error InvalidRecord --field currency
      weir dlq list --all --json > letters.jsonl
    """  # noqa: D301 - click's mark for lines that stay as they are
    from service.dead_letter_text import HEADINGS, Summary, list_line, row, table_row

    counts, encode, n_listed = Summary(), _encoder(), 0

    async def work(session: "Session", stop: asyncio.Event) -> None:
        nonlocal n_listed
        async with aclosing(session.letters(is_all=is_all)) as found:
            async for letters in found:
                n_listed += len(letters)
                if summary:
                    for letter, handled in letters:
                        counts.add(letter, handled)
                elif as_json:
                    _print_lines(encode([row(*each) for each in letters]))
                else:
                    _print_lines("".join(f"{list_line(*each)}\n" for each in letters).encode())
                if stop.is_set():
                    return

    if not (summary or as_json) and sys.stdout.isatty():
        click.secho(table_row(HEADINGS), bold=True)
    connection = _connection(context)
    _run(lambda: _session(connection, (), filters, limit=limit), work)
    if summary:
        _print_lines(encode(counts.rows()) if as_json else "".join(f"{line}\n" for line in counts.lines()).encode())
    elif not as_json and sys.stdout.isatty():
        click.echo(f"{n_listed:,} dead letter{'' if n_listed == 1 else 's'}", err=True)


@command.command()
@click.argument("places", nargs=-1, required=True, metavar="PLACE...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, the content as text.")
@click.pass_context
def show(context: click.Context, *, places: tuple[str, ...], as_json: bool) -> None:
    """Print why a record was rejected, what was done about it, and its content; card numbers are masked.

    \b
    Example:
      weir dlq show transactions.dead.v1:0:17
    """  # noqa: D301 - click's mark for lines that stay as they are
    from service.dead_letter_text import content, details, row

    encode = _encoder()

    async def work(session: "Session", _: asyncio.Event) -> None:
        async with aclosing(session.letters(is_all=True)) as found:
            async for letters in found:
                for letter, handled in letters:
                    if as_json:
                        _print_lines(encode([row(letter, handled) | {"content": content(letter.value)}]))
                    else:
                        _print_lines(f"{details(letter, handled)}\n".encode())

    connection = _connection(context)
    _run(lambda: _session(connection, places, {}), work)


@command.command()
@click.argument("places", nargs=-1, metavar="[PLACE]...")
@_filters(has_reason=True)
@click.option(
    "--max-attempts", type=click.IntRange(min=1), default=3, show_default=True, help="Refuse what has been tried so often already."
)
@click.option("--force", is_flag=True, help="Send all the same; a PLACE also if it is handled already.")
@click.option("--dry-run", is_flag=True, help="Print what would be sent, and send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each dead letter.")
@click.pass_context
def replay(
    context: click.Context, /, *, places: tuple[str, ...], limit: int | None, max_attempts: int, force: bool, dry_run: bool, yes: bool,
    as_json: bool, **filters: Any,
) -> None:  # fmt: skip
    """Send records back to the topic they came from, with their original key and bytes.

    For when the cause is gone: the transaction of a label has arrived, a newer version takes what an older one refused. A
    record that is rejected again comes back as a new dead letter that knows how often it was tried. Late events are judged
    by the time policy as any other late event.

    \b
    Examples:
      weir dlq replay --error UnknownTransaction --dry-run
      weir dlq replay --field currency --since 2026-03-01 --yes
      weir dlq replay transactions:0:17 --force
    """  # noqa: D301 - click's mark for lines that stay as they are
    from service.dead_letter_verdict import Rules

    connection, rules = _connection(context), Rules(max_attempts, force)
    report = _Report("replayed", "send {} back?", as_json=as_json)
    _act(
        lambda parts: _session(connection, places, filters, limit=limit, rules=rules, parts=parts),
        lambda session, stop: session.replay(on_steps=report.done, stop=stop),
        report,
        dry_run=dry_run,
        yes=yes,
    )
    report.end(context, is_dry=dry_run)


@command.command()
@click.argument("places", nargs=-1, metavar="[PLACE]...")
@_filters(has_reason=False)
@click.option("--reason", "why", required=True, metavar="TEXT", help="Why nothing is to be done about them; kept on control.v1.")
@click.option("--dry-run", is_flag=True, help="Print what would be marked, and mark nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each dead letter.")
@click.pass_context
def discard(
    context: click.Context,
    /,
    *,
    places: tuple[str, ...],
    limit: int | None,
    why: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **filters: Any,
) -> None:
    """Mark dead letters as handled; `weir dlq list` does not show them any more. Their bytes stay until the retention ends.

    \b
    Examples:
      weir dlq discard --field lat --until 2026-03-01 --reason "test terminal, see the ticket" --yes
      weir dlq discard labels:0:3 --reason "sent again by hand"
    """  # noqa: D301 - click's mark for lines that stay as they are
    from service.dead_letter_text import printable

    if not why.strip():
        raise click.UsageError("--reason is empty; say why nothing is to be done about them")
    connection, reason = _connection(context), printable(why.strip())[:_LONGEST_REASON]
    report = _Report("discarded", "mark {} as handled?", as_json=as_json)
    _act(
        lambda parts: _session(connection, places, filters, limit=limit, parts=parts),
        lambda session, stop: session.discard(reason, on_steps=report.done, stop=stop),
        report,
        dry_run=dry_run,
        yes=yes,
    )
    report.end(context, is_dry=dry_run)


class _Report:
    """Prints steps and counts them."""

    def __init__(self, action: "Action", question: str, *, as_json: bool) -> None:
        self.action = action
        self._question = question
        self._as_json = as_json
        self.clear()

    def clear(self) -> None:
        self.n_done = self.n_refused = 0

    def question(self) -> str:
        letters = f"{self.n_done:,} dead letter{'' if self.n_done == 1 else 's'}"
        return self._question.format(letters) + (f" ({self.n_refused:,} more are refused)" if self.n_refused else "")

    def count(self, steps: "Sequence[Step]") -> None:
        n_refused = sum(step.refusal is not None for step in steps)
        self.n_refused += n_refused
        self.n_done += len(steps) - n_refused

    def show(self, steps: "Sequence[Step]") -> None:
        """Count, and print every step."""
        from service.dead_letter_text import step_line, step_row

        self.count(steps)
        if self._as_json:
            _print_lines(_encoder()([step_row(step, self.action) for step in steps]))
        else:
            _print_lines("".join(f"{step_line(step)}\n" for step in steps).encode())

    def done(self, steps: "Sequence[Step]") -> None:
        """Count, and print every step for a program, the refused ones for people."""
        from service.dead_letter_text import step_line

        if self._as_json:
            self.show(steps)
            return
        self.count(steps)
        for step in steps:
            if step.refusal is not None:
                click.echo(step_line(step), err=True)

    def end(self, context: click.Context, *, is_dry: bool) -> None:
        """Print the counts; exit code 1 if something was refused."""
        refused = f", {self.n_refused:,} refused" if self.n_refused else ""
        would = "would be " if is_dry else ""
        click.echo(f"{self.n_done:,} {would}{self.action}{refused}", err=self._as_json)
        if self.n_refused:
            context.exit(1)


def _connection(context: click.Context) -> "KafkaConnection":
    from service.clients import kafka_of

    return kafka_of(context)[0]


def _session(connection: "KafkaConnection", places: Sequence[str], filters: dict[str, Any], **options: Any) -> "Session":
    """Return a session on the letters that the options select."""
    from service.dead_letter_session import Session
    from service.dead_letters import Selection, parse_place

    found = dict(filters)
    kind, text = found.pop("kind", None), found.pop("contains", None)
    selection = Selection(
        kinds=KINDS if kind is None else (kind,),
        places=tuple(parse_place(place, connection) for place in places),
        contains=None if text is None else text.encode("utf-8", "surrogateescape"),
        **found,
    )
    return Session(connection, selection, **options)


def _run(make: "Callable[[], Session]", work: "Callable[[Session, asyncio.Event], Coroutine[Any, Any, None]]") -> "list[Stretch]":
    """Do `work` in a session; return what it read. Ctrl-C ends the command when `work` has ended cleanly."""
    from service.interrupts import run_until_interrupted

    async def run(stop: asyncio.Event) -> "list[Stretch]":
        async with make() as session:
            await work(session, stop)
            return session.parts

    parts, is_interrupted = run_until_interrupted(run)
    if is_interrupted:
        raise click.Abort
    return parts


def _act(
    make: "Callable[[list[Stretch] | None], Session]", act: "Callable[[Session, asyncio.Event], Coroutine[Any, Any, None]]",
    report: "_Report", *, dry_run: bool, yes: bool,
) -> None:  # fmt: skip
    """Look, ask, act. What is done is what was looked at: letters that came meanwhile are left alone."""
    parts = None
    if dry_run or not yes:
        if not (dry_run or sys.stdin.isatty()):
            raise click.UsageError("there is no terminal to ask on: look with --dry-run, then say --yes")
        on_steps = report.show if dry_run else report.count
        parts = _run(lambda: make(None), lambda session, stop: session.survey(report.action, on_steps=on_steps, stop=stop))
        if dry_run or report.n_done + report.n_refused == 0:
            return
        if report.n_done:
            click.confirm(report.question(), err=True, abort=True)
        report.clear()
    _run(lambda: make(parts), act)


def _encoder() -> "Callable[[Sequence[Any]], bytes]":
    import msgspec

    return msgspec.json.Encoder().encode_lines


def _print_lines(lines: bytes) -> None:
    sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()
