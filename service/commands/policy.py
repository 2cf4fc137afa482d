"""`weir policy`: the thresholds, lists and limits that decide, changed while workers serve."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.authorship import authored

if TYPE_CHECKING:
    from models.policy import LivePolicy, Policy
    from models.registry import Registry


@click.group(name="policy")
def command() -> None:
    """Show and set the live policy: thresholds, block and allow lists, limits. Workers take it without a restart.

    \b
    Example:
      weir policy show
    """  # noqa: D301 - click's mark for lines that stay as they are


@command.command(name="show")
@click.option("--version", default=None, help="An earlier one; else the one in force.")
@click.option("--json", "as_json", is_flag=True, help="Print the live policy as JSON, fit for `weir policy set`.")
@click.pass_context
def show(context: click.Context, version: str | None, *, as_json: bool) -> None:
    """Show the policy in force: what was set, and what it makes of each serving model's own.

    \b
    Examples:
      weir policy show
      weir policy show --json > policy.json
    """  # noqa: D301 - click's mark for lines that stay as they are
    import msgspec

    from models.policy import LivePolicy, effective
    from service.context import settings_of
    from service.wiring import policies_of, registry_of, verifying_key_of

    settings = settings_of(context).settings
    registry = registry_of(settings)
    state = registry.state()
    live = policies_of(settings).read(state.policy if version is None else version, verifying_key_of(settings))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(live or LivePolicy(), order="deterministic")).decode())
        return
    if live is None:
        click.echo("no live policy is set: each model's own is in force")
    else:
        _echo_live(live, registry)
    for entry in registry.entries():
        if {"champion", "challenger"} & set(entry.aliases):
            click.echo()
            _echo_effective(f"{entry.reference} ({', '.join(entry.aliases)})", effective(entry.manifest.policy, live, entry.reference))


@command.command(name="set")
@click.argument("path", metavar="FILE", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--default", "is_default", is_flag=True, help="Back to each model's own policy.")
@click.option("--dry-run", is_flag=True, help="Check the file and change nothing.")
@authored
@click.option("--json", "as_json", is_flag=True, help="Print the version as JSON.")
@click.pass_context
def set_policy(
    context: click.Context, path: Path | None, *, is_default: bool, dry_run: bool, who: str, why: str, as_json: bool
) -> None:  # fmt: skip
    """Sign the policy in FILE (TOML or JSON; see docs/models.md) and make it the live one.

    \b
    Examples:
      weir policy set policy.toml --why "fewer reviews over the holidays"
      weir policy set --default
    """  # noqa: D301 - click's mark for lines that stay as they are
    import msgspec

    from service.context import settings_of
    from service.policy_file import read_policy
    from service.wiring import policies_of, registry_of, signing_key_of

    if (path is None) != is_default:
        raise click.UsageError("give a FILE, or --default to go back to each model's own policy")
    settings = settings_of(context).settings
    registry = registry_of(settings)
    seen = registry.state()
    policy = read_policy(path, registry) if path is not None else None
    version = policy.version if policy else ""
    if not dry_run:
        if policy:
            policies_of(settings).write(policy, signing_key_of(settings))
        registry.set_policy(version, model=policy.model if policy else "", expected=seen, who=who, why=why)
    if as_json:
        click.echo(msgspec.json.encode({"policy": version, "before": seen.policy, "is_set": not dry_run}).decode())
    elif dry_run:
        click.echo(f"the policy {version or 'of each model'} can be set; nothing was changed")
    else:
        click.echo(f"the policy {version or 'of each model'} is in force; running workers take it at their next look")


def _echo_live(live: "LivePolicy", registry: "Registry") -> None:
    from service.registry_words import event_sentence
    from service.times import format_time

    click.echo(f"live policy {live.version}")
    event = next((event for event in reversed(registry.history()) if event.event == "policy" and event.policy == live.version), None)
    if event is not None:
        click.echo(f"  {format_time(event.time_ms)}  {event_sentence(event)}")
    aliases = registry.aliases()
    if live.thresholds and live.model not in (aliases.get("champion"), aliases.get("challenger")):
        click.echo(f"  its thresholds are for {live.model}, which does not serve: the serving model keeps its own")


def _echo_effective(title: str, policy: "Policy") -> None:
    click.echo(f"{title}: policy {policy.version}")
    for tier, thresholds in policy.thresholds.items():
        click.echo(f"  {tier.value:<10}review from {thresholds.review:.6g}, decline from {thresholds.decline:.6g}")
    for rule in policy.rules.lists:
        click.echo(f"  list {rule.name}: {rule.outcome} {len(rule.values)} {rule.field} value{'s' if len(rule.values) > 1 else ''}")
    for amount in policy.rules.amounts:
        click.echo(f"  limit {amount.name}: {amount.outcome} from {amount.amount_minor} minor units on")
    for velocity in policy.rules.velocities:
        click.echo(f"  limit {velocity.name}: {velocity.outcome} where {velocity.feature} is {velocity.bound:g} or more")
