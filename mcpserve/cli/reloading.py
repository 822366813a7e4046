"""``reload`` and ``plan``: what a changed configuration does to servers that run."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import click

from mcpserve import app, changes, control, pinning
from mcpserve.changes import Changes, Served
from mcpserve.cli.common import configured, counted, with_database
from mcpserve.cli.groups import Command
from mcpserve.config import Loaded
from mcpserve.control import Answer
from mcpserve.db import Database
from mcpserve.errors import UsageError
from mcpserve.oauth import clients, keys
from mcpserve.oauth.keys import KeyRing
from mcpserve.oauth.store import grants as grant_store
from mcpserve.oauth.store.grants import Grant
from mcpserve.reloading import REFRESH
from mcpserve.settings import Settings
from mcpserve.text import printable

NOBODY = "no server runs with this database"
SILENT = "did not answer; if it is there, its log may say more"


@click.command(cls=Command, epilog="mcpserve reload")
@configured
def reload(loaded: Loaded) -> None:
    """Let every server that runs with this database read its configuration again.

    One in whose configuration something is wrong stays as it is, and says why. Exit code 1 if one
    refused or did not answer.
    """

    async def work(db: Database) -> list[Answer]:
        answers = []
        async for answer in control.ask(db, "reload"):
            answers.append(answer)
            click.echo(f"{printable(answer.process)}  {outcome(answer.content)}")
        return answers

    answers = with_database(loaded.settings, work)
    if not answers:
        raise UsageError(NOBODY)
    refused = [answer for answer in answers if not answer.content or answer.content["problems"]]
    if refused:
        raise UsageError(f"{counted(len(refused), 'server')} of {len(answers)} did not reload")


def outcome(content: Mapping[str, Any] | None) -> str:
    """Return in one line what became of it."""
    if content is None:
        return SILENT
    if content["problems"]:
        return printable("refused: " + "; ".join(content["problems"]))
    said = [f"reloaded, generation {content['generation']}"]
    said += ["; ".join(content["changes"])] if content["changes"] else []
    said += [f"at the next start: {' '.join(content['at_start'])}"] if content["at_start"] else []
    return printable("; ".join([*said, *content["hints"]]))


@dataclass(frozen=True)
class Side:
    """What is offered, and what scopes there are, before or after."""

    offers: list[Served]
    scopes: frozenset[str]
    implied: Mapping[str, Collection[str]]
    left_out: Sequence[str] = ()
    """Why a plugin or a tool is not offered, and what to do."""

    def usable(self, grant: Grant) -> set[str]:
        """Return what a client may use with a grant, by every name it has."""
        granted = set(grant.scopes).union(*(self.implied.get(s, ()) for s in grant.scopes))
        return {
            f"{each.kind} {name}"
            for each in self.offers
            if each.scopes and granted.issuperset(each.scopes)
            for names in [[each.name, *each.aliases]]
            if each.kind != "tool" or grant.withheld.isdisjoint(names)
            for name in names
        }


@click.command(
    cls=Command,
    epilog="""mcpserve plan
mcpserve plan --json""",
)
@click.option("--json", "as_json", is_flag=True, help="For machines: one object for each server.")
@configured
def plan(loaded: Loaded, *, as_json: bool) -> None:
    """Show what a reload would change, and change nothing.

    Tools, resources, prompts and settings that would differ, and what live grants would lose. Exit
    code 2 if the configuration or a plugin is wrong. Without a server: what a start would serve.
    """

    async def work(db: Database) -> list[dict[str, Any]]:
        after = await offered(loaded.settings)
        await keys.require_complete(db, KeyRing.of(loaded.settings.oauth.keys))
        live = await grant_store.find_all(db, active_only=True)
        return [
            planned(answer.process, answer.content, after, live)
            async for answer in control.ask(db, "describe")
        ] or [planned("", NOTHING, after, live)]

    plans = with_database(loaded.settings, work)
    if as_json:
        click.echo(json.dumps(plans, indent=2, ensure_ascii=False))
    else:
        click.echo("\n\n".join("\n".join(map(printable, text(each))) for each in plans))
    if any(each["problems"] for each in plans):
        raise UsageError("a reload would be refused")


NOTHING: Mapping[str, Any] = {
    "generation": 0,
    "config": "",
    "problems": [],
    "settings": {},
    "hints": [],
    "offers": [],
    "scopes": [],
    "implied": {},
}
"""What is served by nobody."""


async def offered(settings: Settings) -> Side:
    """Load the plugins as a start would, and close them. Raises as that does."""
    clients.validate(settings.oauth.clients.configured)
    async with AsyncExitStack() as exit_stack:
        loaded = await pinning.load(settings, exit_stack)
        scopes = app.open_scopes(settings, loaded)
        return Side(
            changes.served(loaded.registry),
            frozenset(scopes.texts),
            dict(scopes.implied),
            [*loaded.skipped.values(), *map(str, loaded.unapproved)],
        )


def planned(
    process: str, content: Mapping[str, Any] | None, after: Side, live: Iterable[Grant]
) -> dict[str, Any]:
    """Return what a reload of this server would change."""
    if content is None:
        return {"server": process, "problems": [SILENT]}
    before = Side(
        [Served.model_validate(each) for each in content["offers"]],
        frozenset(content["scopes"]),
        content["implied"],
    )
    different = changes.compare(before.offers, after.offers)
    return {
        "server": process or None,
        "generation": content["generation"],
        "config": content["config"],
        "problems": content["problems"],
        "settings": content["settings"],
        "at_start": changes.at_start(content["settings"]),
        "added": list(different.added),
        "removed": list(different.removed),
        "changed": {name: list(what) for name, what in different.changed.items()},
        "hints": [*content["hints"], *after.left_out],
        "refresh": different.has_to_be_refreshed,
        "grants": losses(before, after, live) if process else [],
    }


def losses(before: Side, after: Side, live: Iterable[Grant]) -> list[dict[str, Any]]:
    """Return what clients would lose: an entry for each client and set of things."""
    found: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for grant in live:
        offers = tuple(sorted(before.usable(grant) - after.usable(grant)))
        scopes = tuple(sorted(before.scopes.intersection(grant.scopes) - after.scopes))
        if offers or scopes:
            found.setdefault((grant.client_id, offers, scopes), []).append(grant.id)
    return [
        {"client": client, "loses": list(offers), "scopes": list(scopes), "ids": ids}
        for (client, offers, scopes), ids in sorted(found.items())
    ]


def text(told: Mapping[str, Any]) -> list[str]:
    """Return a plan as people read it."""
    if "generation" not in told:
        return [f"{told['server']}: {SILENT}"]
    if told["server"] is None:
        served = (*told["added"], *told["hints"])
        return [f"{NOBODY}; a start would serve:", *(f"  {line}" for line in served)]
    lines = [f"{told['server']}, generation {told['generation']}, {told['config'] or 'no file'}"]
    lines += [f"  refused: {problem}" for problem in told["problems"]]
    shown = Changes(tuple(told["added"]), tuple(told["removed"]), told["changed"])
    lines += [f"  {line}" for line in shown.lines()]
    lines += [f"  {key}: {change}" for key, change in told["settings"].items()]
    lines += [f"  at the next start: {key}" for key in told["at_start"]]
    for loss in told["grants"]:
        many = counted(len(loss["ids"]), "live grant")
        what = ", ".join([*loss["loses"], *(f"scope {scope}" for scope in loss["scopes"])])
        lines.append(f"  {loss['client']}: {many} would lose {what}")
        lines += [f"    {grant_id}" for grant_id in loss["ids"]]
    lines += [f"  {hint}" for hint in told["hints"]]
    if told["refresh"]:
        lines.append(f"  {REFRESH}")
    return lines if len(lines) > 1 else [*lines, "  nothing would change"]
