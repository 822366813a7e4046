"""Clients whose id is the URL of a document about them (Client ID Metadata Documents).

What the document says is kept as a client like any other; only ``/authorize`` asks for it anew.
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mcpserve import audit, crypto
from mcpserve.audit import Event
from mcpserve.db import Database
from mcpserve.errors import DocumentError
from mcpserve.oauth import clients, jwks, redirect_uris
from mcpserve.oauth.documents import Documents
from mcpserve.oauth.presets import Presets
from mcpserve.oauth.scopes import LEFT_OUT, Scopes
from mcpserve.oauth.store import clients as store
from mcpserve.oauth.store.clients import Client
from mcpserve.ratelimit import Limit
from mcpserve.settings import MetadataDocumentsSettings
from mcpserve.text import printable

logger = logging.getLogger(__name__)

ORIGIN = "metadata_document"
AUTH_METHODS = (*clients.PUBLIC_METHODS, *clients.KEY_METHODS)
"""A document is public, so no secret can be shared through it."""
MAX_URL_LENGTH = 2000
MAX_REDIRECT_URIS = 20
MAX_NAME_LENGTH = 100

URL = re.compile(
    r"https://(?P<host>(?:[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?)"
    r"(?P<path>/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})+)"
)
"""No user name, query or fragment, and nothing that a browser would repair."""
DOT_SEGMENT = re.compile(r"(?:\.|%2e){1,2}", re.IGNORECASE)


def host_of(url: str) -> str:
    """Return the host, with its port if any, of a URL that can be a client id (CIMD §3).

    Raises :class:`~mcpserve.errors.DocumentError` for any other. It is compared as it is, so it
    must be written as everybody would write it: in lower case, without the default port.
    """
    match = URL.fullmatch(url)
    if match is None or len(url) > MAX_URL_LENGTH or match["host"].endswith(":443"):
        raise DocumentError("the client id is not a plain https URL with a path")
    if any(map(DOT_SEGMENT.fullmatch, match["path"].split("/"))):
        raise DocumentError("the path of the client id has dot segments")
    return match["host"]


@dataclass(frozen=True)
class MetadataDocuments:
    """Whose documents are believed, and how they are had."""

    settings: MetadataDocumentsSettings
    documents: Documents
    presets: Presets
    scopes: Scopes
    limit: Limit
    """Of documents that were never fetched before, per network."""

    async def resolve(self, db: Database, client_id: str, *, network: str) -> Client | None:
        """Return the client if it exists and is enabled; a published one as it is published now.

        A client that an operator keeps is never looked for elsewhere. Raises
        :class:`~mcpserve.errors.DocumentError` if a document cannot be had or used, and
        :class:`~mcpserve.errors.RateLimited` if its network asked for too many.
        """
        present = await store.find(db, client_id)
        if present and _is_settled(present):
            return clients.if_enabled(present)
        if not client_id.startswith("https://"):
            return None
        if not self.settings.enabled:
            logger.info("oauth.clients.metadata_documents are not enabled: %r", client_id[:200])
            return None
        self._require_known(client_id)
        described, pinned = await self._described(db, client_id, network)
        if present and present == _with_history(described, present):
            return present
        return await _keep(db, described, pinned=pinned)

    def _require_known(self, url: str) -> None:
        """Refuse to fetch what is neither a preset's document nor at a host of the operator's.

        On the host of a preset others may publish, too.
        """
        host = host_of(url)
        if self.presets.of_document(url) is None and not {host, "*"} & {*self.settings.hosts}:
            raise DocumentError(f"oauth.clients.metadata_documents.hosts does not have {host}")

    async def _described(self, db: Database, url: str, network: str) -> tuple[Client, bool]:
        """Return the client, and whether that is from the preset's copy of the document."""

        def read_it(document: Any) -> Client:
            return read(document, url, presets=self.presets, scopes=self.scopes)

        async def admit() -> None:
            # Counted although it may be good: the fetch itself is what one network may not
            # make us do without end.
            await self.limit.fail(db, network)

        preset = self.presets.of_document(url)
        is_pinned = preset is not None and url in preset.documents
        try:
            admitted = None if is_pinned else admit
            return await self.documents.get(db, url, read_it, admit=admitted), False
        except DocumentError as error:
            if preset is None or not is_pinned:
                raise
            logger.warning("%s: the copy of the preset %s serves: %s", url, preset.name, error)
            return read_it(preset.documents[url]), True


async def _keep(db: Database, described: Client, *, pinned: bool) -> Client | None:
    """Write the client down; what an operator does at the same time wins."""
    async with db.transaction() as tx:
        await store.lock(tx, described.client_id)
        present = await store.find(tx, described.client_id)
        if present and _is_settled(present):
            return clients.if_enabled(present)
        if present and present == _with_history(described, present):
            return present
        await store.save(tx, described)
        await audit.record(
            tx,
            Event.CLIENT_DOCUMENT_READ,
            client_id=described.client_id,
            known_before=present is not None,
            client_name=described.name,
            redirect_hosts=sorted(set(map(redirect_uris.host, described.redirect_uris))),
            auth_methods=described.auth_methods,
            preset=described.preset,
            pinned=pinned,
        )
    return described


def _is_settled(client: Client) -> bool:
    """Whether its document does not matter."""
    return client.origin != ORIGIN or client.disabled_at is not None


def _with_history(described: Client, present: Client) -> Client:
    return replace(described, created_at=present.created_at, last_used_at=present.last_used_at)


def read(document: Any, url: str, *, presets: Presets, scopes: Scopes) -> Client:
    """Return the client that the document at ``url`` is about (CIMD §4.1).

    Raises :class:`~mcpserve.errors.DocumentError` if it cannot be one. Members that are not
    needed here are not looked at; nothing that it links to is fetched.
    """
    if not isinstance(document, dict):
        raise DocumentError("not a JSON object")
    if document.get("client_id") != url:
        raise DocumentError("client_id is not the URL that it was fetched from")
    if any(name.startswith("client_secret") for name in document):
        raise DocumentError("it publishes a secret")
    _require_member(document, "grant_types", "authorization_code")
    _require_member(document, "response_types", "code")
    methods = _auth_methods(document)
    public_keys, jwks_uri = _keys(document, needed="private_key_jwt" in methods)
    preset = presets.of_document(url)
    client = Client(
        client_id=url,
        name=_name(document) or host_of(url),
        redirect_uris=_redirect_uris(document, presets),
        auth_methods=methods,
        origin=ORIGIN,
        jwks=public_keys,
        jwks_uri=jwks_uri,
        scopes=_scopes(document, scopes),
        preset=preset.name if preset else None,
        refresh_reuse_window=preset.refresh_reuse_window if preset else None,
    )
    return replace(client, document_digest=_digest(client))


def _digest(client: Client) -> bytes:
    """Return what tells whether anything has changed that the client may do."""
    used = (
        client.client_id,
        client.name,
        client.redirect_uris,
        client.auth_methods,
        client.jwks,
        client.jwks_uri,
        client.scopes,
    )
    return crypto.digest(json.dumps(used, sort_keys=True))


def _redirect_uris(document: Mapping[str, Any], presets: Presets) -> tuple[str, ...]:
    uris = _texts(document, "redirect_uris")
    if not uris or len(uris) > MAX_REDIRECT_URIS:
        raise DocumentError(f"it must have 1 to {MAX_REDIRECT_URIS} redirect_uris")
    for uri in uris:
        if problem := presets.problem(uri):
            raise DocumentError(f"redirect_uris: {uri[:100]!r} {problem}")
    return uris


def _auth_methods(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what both sides offer; a document that names nothing means ``none``.

    The default of RFC 7591, a secret, is not possible here.
    """
    single = _text(document, "token_endpoint_auth_method")
    several = document.get("token_endpoint_auth_methods_supported")
    if single and single.startswith("client_secret"):
        raise DocumentError("it authenticates with a secret")
    offered = [*several, single] if isinstance(several, list) else [single or "none"]
    methods = tuple(method for method in AUTH_METHODS if method in offered)
    if not methods:
        raise DocumentError(f"it authenticates with none of {', '.join(AUTH_METHODS)}")
    return methods


def _keys(
    document: Mapping[str, Any], *, needed: bool
) -> tuple[Mapping[str, Any] | None, str | None]:
    """Return the public keys, or else where they are; nothing unless they are needed."""
    published = document.get("jwks")
    public = None if published is None else _public_keys(published)
    jwks_uri = _text(document, "jwks_uri")
    if not needed:
        return None, None
    if (public is None) == (jwks_uri is None):
        raise DocumentError("private_key_jwt needs one of jwks and jwks_uri")
    if jwks_uri is not None and not _is_https(jwks_uri):
        raise DocumentError("jwks_uri is not a plain https URL")
    return public, jwks_uri


def _is_https(uri: str) -> bool:
    return uri.startswith("https://") and redirect_uris.problem(uri) is None


def _public_keys(published: Any) -> Mapping[str, Any]:
    """Return the key set with what it is used for, which the database can hold."""
    usable = [
        {name: text for name, text in key.items() if isinstance(text, str) and text.isprintable()}
        for key in jwks.read(published)
    ]
    if not usable or any(
        isinstance(k, dict) and jwks.PRIVATE & k.keys() for k in published["keys"]
    ):
        raise DocumentError("jwks has no public key that may sign, or private ones, too")
    return {"keys": usable}


def _scopes(document: Mapping[str, Any], scopes: Scopes) -> tuple[str, ...]:
    asked = dict.fromkeys((_text(document, "scope") or "").split())
    return tuple(scope for scope in asked if scope in scopes.texts and scope not in LEFT_OUT)


def _name(document: Mapping[str, Any]) -> str:
    """Return the name without characters that could pretend something; empty if it has none."""
    return printable(_text(document, "client_name") or "").strip()[:MAX_NAME_LENGTH]


def _require_member(document: Mapping[str, Any], name: str, needed: str) -> None:
    """Let a list be absent; if it is there it must have what is needed."""
    values = _texts(document, name)
    if values is not None and needed not in values:
        raise DocumentError(f"{name} does not have {needed}")


def _text(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise DocumentError(f"{name} is not text")
    return value


def _texts(document: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    values = document.get(name)
    if values is None:
        return None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise DocumentError(f"{name} is not a list of texts")
    return tuple(values)
