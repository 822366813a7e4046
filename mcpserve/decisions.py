"""What the operator decided about the offers of one plugin, applied to them."""

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mcpserve.apps import page_uri
from mcpserve.bound import DEFAULT_TIMEOUT, Bound, Containment, Offered
from mcpserve.errors import PluginError
from mcpserve.kinds import Kind
from mcpserve.resources import Resource
from mcpserve.settings import OfferSettings, PluginSettings, ToolSettings
from mcpserve.tools import CALL_SCOPE, Offer, Tool

logger = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Stricter than the protocol (128 and dots), because clients are."""


def bind(
    offer: Offered,
    name: str,
    plugin: PluginSettings,
    override: OfferSettings,
    *,
    containment: Containment,
) -> Bound[Offered]:
    """Apply the operator's decisions. Of timeouts the operator's wins; scopes only add up.

    Raises :class:`PluginError` for what is to be open and has scopes.
    """
    decided = override.timeout or plugin.timeout
    return Bound(
        offer=offer,
        plugin=name,
        scopes=needed_scopes(offer, name, plugin, override),
        timeout=decided.total_seconds() if decided else offer.timeout or DEFAULT_TIMEOUT,
        containment=containment,
        aliases=override.aliases if isinstance(override, ToolSettings) else (),
    )


def needed_scopes(
    offer: Offer, name: str, plugin: PluginSettings, override: OfferSettings
) -> frozenset[str]:
    """Return the scopes that a call needs: none at all if the operator opened it.

    Raises :class:`PluginError` if that would drop a protection that somebody asked for.
    """
    key = f"{offer.kind}s.{offer.name}"
    asked = {
        "its author asks": offer.scopes,
        f"plugins.{name}.scopes ask": plugin.scopes,
        f"plugins.{name}.{key}.scopes ask": override.scopes,
    }
    if not override.open:
        return frozenset({CALL_SCOPE}).union(*asked.values())
    for who, scopes in asked.items():
        if scopes:
            raise PluginError(
                name,
                f"{key}.open: {who} for {' '.join(sorted(scopes))}, "
                "and what is open needs no scope; remove one of the two",
            )
    return frozenset()


def check_pages(name: str, offers: Sequence[Offer]) -> None:
    """Refuse a tool whose result would be shown on a page that there is not."""
    resources = {offer.key for offer in offers if isinstance(offer, Resource)}
    for offer in offers:
        uri = page_uri(offer.meta) if isinstance(offer, Tool) else None
        if uri is not None and uri not in resources:
            raise PluginError(
                name, f"tool {offer.name!r} is shown on {uri!r}, which mcpserve_resources lacks"
            )


def warn_of_closed_pages(offers: Sequence[Bound[Any]]) -> None:
    """Tell the operator of an open tool whose page is not: without a login nobody sees it."""
    pages = {bound.offer.key: bound for bound in offers if isinstance(bound.offer, Resource)}
    for bound in offers:
        page = pages.get(page_uri(bound.offer.meta) or "") if bound.is_open else None
        if page is not None and not page.is_open:
            logger.warning(
                "plugins.%s: the tool %s is open, but the page of its results is not; to open it: "
                "resources: {%s: {open: true}}",
                *(bound.plugin, bound.offer.name, page.offer.name),
            )


def check_names(name: str, kind: Kind, offers: Sequence[Offer]) -> None:
    """Refuse names that are not valid and distinct."""
    for offer in offers:
        if offer.is_method:
            raise PluginError(
                name, f"{kind.name} {offer.name!r} is a method: hand it over from an object"
            )
        if kind.type is not Resource and not NAME.fullmatch(offer.name):
            raise PluginError(
                name, f"{kind.name} name {offer.name!r} must be 1 to 64 of A-Z a-z 0-9 _ -"
            )
    for names in ([offer.name for offer in offers], [offer.key for offer in offers]):
        for twice in (key for key, count in Counter(names).items() if count > 1):
            raise PluginError(name, f"{kind.name} {twice!r} is there twice")


def check_overrides(
    name: str, kind: Kind, decided: Mapping[str, OfferSettings], offers: Sequence[Offer]
) -> None:
    """Refuse settings for what the plugin does not have."""
    known = {offer.name for offer in offers}
    if unknown := sorted(decided.keys() - known):
        raise PluginError(
            name,
            f"{kind.settings}.{unknown[0]}: no such {kind.name}; "
            f"it has {', '.join(sorted(known)) or 'none'}",
        )
