"""`weir doctor`: is everything there that a worker needs?"""

import click


@click.command(name="doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
@click.pass_context
def command(context: click.Context, *, as_json: bool) -> None:
    """Check Kafka, topics, Redis, the workers, the model registry and the clocks, and say what to do; exit code 1 if something is wrong.

    \b
    Examples:
      weir doctor
      weir doctor --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    import msgspec

    from service.context import settings_of
    from service.diagnosis import diagnose

    checks = diagnose(settings_of(context).settings)
    if as_json:
        click.echo(msgspec.json.encode({"checks": [check._asdict() for check in checks]}).decode())
    else:
        for check in checks:
            mark = click.style("ok   ", fg="green") if check.ok else click.style("WRONG", fg="red", bold=True)
            click.echo(f"{mark}  {check.name:<16} {check.detail}" + (f"\n       -> {check.advice}" if check.advice else ""))
    if not all(check.ok for check in checks):
        context.exit(1)
