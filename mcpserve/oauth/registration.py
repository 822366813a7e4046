"""Clients that register themselves (RFC 7591): what they may be, and what they are told.

Nobody vouches for them, so what they say of themselves is checked for form and never believed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from mcpserve import audit, crypto, strict_json
from mcpserve.audit import Event
from mcpserve.db import Database
from mcpserve.errors import (
    InvalidClientMetadata,
    InvalidRedirectUri,
    InvalidSoftwareStatement,
    RateLimited,
)
from mcpserve.oauth import clients, jwks, metadata, redirect_uris
from mcpserve.oauth.presets import Presets
from mcpserve.oauth.scopes import Scopes
from mcpserve.oauth.store import clients as store
from mcpserve.oauth.store.clients import Client
from mcpserve.ratelimit import Limit
from mcpserve.settings import ClientsSettings

CLIENT_ID = "client_"
"""How the ids begin that are made here: nobody can take one for a URL."""
MAX_REDIRECT_URIS = 10
MAX_KEYS = 10
MAX_NAME_LENGTH = 100
RETRY_AFTER = 60
"""Seconds until there may be room: clients that nobody used for an hour make it."""


@dataclass(frozen=True)
class Registration:
    """Who may register, and as what."""

    settings: ClientsSettings
    presets: Presets
    scopes: Scopes
    limit: Limit
    """Of registrations, per network."""

    async def register(
        self, db: Database, asked: Mapping[str, Any], *, network: str
    ) -> dict[str, Any]:
        """Keep a new client and return what it is told (RFC 7591 §3.2.1).

        Raises one of the errors of RFC 7591 §3.2.2, and
        :class:`~mcpserve.errors.RateLimited` if there are too many clients already, of this
        network in the last hour or of all that nobody ever logged in with.
        """
        client = self.describe(asked, crypto.new_token(CLIENT_ID))
        secret = None
        if client.auth_methods[0] in clients.SECRET_METHODS:
            secret = crypto.new_token(crypto.CLIENT_SECRET)
            client = replace(client, secret_hash=crypto.hash_generated_secret(secret))
        await self.limit.fail(db, network)
        limits = self.settings.registration
        async with db.transaction() as tx:
            if not await store.has_room(tx, limits.max_unused):
                # Who came first goes first, or one stranger could keep all others out.
                raise RateLimited(RETRY_AFTER, "too many registered clients are not used")
            issued_at = await store.save(tx, client)
            await audit.record(
                tx,
                Event.CLIENT_REGISTERED,
                client_id=client.client_id,
                client_name=client.name,
                redirect_hosts=sorted(set(map(redirect_uris.host, client.redirect_uris))),
                auth_methods=client.auth_methods,
                preset=client.preset,
            )
        return response(client, issued_at, secret=secret)

    def describe(self, asked: Mapping[str, Any], client_id: str) -> Client:
        """Return the client that is asked for, without its secret. Unknown members are ignored.

        Raises one of the errors of RFC 7591 §3.2.2.
        """
        if not isinstance(asked.get("software_statement", ""), str):
            raise InvalidSoftwareStatement("software_statement must be text")
        _require_member(asked, "grant_types", metadata.GRANT_TYPES)
        _require_member(asked, "response_types", metadata.RESPONSE_TYPES)
        uris = _redirect_uris(asked, self.presets)
        if self.settings.registration.redirects == "presets":
            _require_known(uris, self.presets)
        preset = self.presets.of_redirect_uris(uris)
        vouched = preset if preset and _reach_nobody_else(uris) else None
        method = _auth_method(asked)
        keys, jwks_uri = self._keys(asked) if method in clients.KEY_METHODS else (None, None)
        return Client(
            client_id=client_id,
            # What nobody warns of must not be named by who asks.
            name=vouched.title if vouched else _name(asked) or redirect_uris.host(uris[0]),
            redirect_uris=uris,
            auth_methods=(method,),
            origin="registration",
            jwks=keys,
            jwks_uri=jwks_uri,
            scopes=_scopes(asked, self.scopes),
            preset=vouched.name if vouched else None,
            refresh_reuse_window=preset.refresh_reuse_window if preset else None,
        )

    def _keys(self, asked: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str | None]:
        keys, jwks_uri = asked.get("jwks"), _text(asked, "jwks_uri")
        if (keys is None) == (jwks_uri is None):
            raise InvalidClientMetadata("private_key_jwt needs one of jwks and jwks_uri")
        if jwks_uri is None:
            return _public_keys(keys), None
        if redirect_uris.problem(jwks_uri) or not jwks_uri.startswith("https://"):
            raise InvalidClientMetadata("jwks_uri must be a plain https URL")
        hosts = {*self.settings.metadata_documents.hosts}
        if not {urlsplit(jwks_uri).netloc, "*"} & hosts and jwks_uri not in self.presets.jwks_uris:
            raise InvalidClientMetadata(
                "the host of jwks_uri is not known here; whoever runs this server can add it to "
                "oauth.clients.metadata_documents.hosts"
            )
        return None, jwks_uri


def parse(content_type: str, body: bytes) -> Mapping[str, Any]:
    """Return the JSON object of a registration.

    Raises :class:`~mcpserve.errors.InvalidClientMetadata` for all else: also for a member that is
    there twice, NaN, and text that is no Unicode.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise InvalidClientMetadata("the body must be application/json")
    try:
        value = strict_json.loads(body.decode())
    except ValueError:
        raise InvalidClientMetadata("the body is not JSON in UTF-8, each member once") from None
    if not isinstance(value, dict):
        raise InvalidClientMetadata("the body must be one JSON object")
    return value


def response(client: Client, issued_at: datetime, *, secret: str | None) -> dict[str, Any]:
    """Return all that is effective of the client (RFC 7591 §3.2.1); nothing is null or empty."""
    members = {
        "client_id": client.client_id,
        "client_id_issued_at": int(issued_at.timestamp()),
        "client_name": client.name,
        "redirect_uris": client.redirect_uris,
        "token_endpoint_auth_method": client.auth_methods[0],
        "grant_types": metadata.GRANT_TYPES,
        "response_types": metadata.RESPONSE_TYPES,
        "scope": " ".join(client.scopes),
        "jwks": client.jwks,
        "jwks_uri": client.jwks_uri,
    }
    told = {name: value for name, value in members.items() if value}
    # 0: it does not expire.
    return told | ({"client_secret": secret, "client_secret_expires_at": 0} if secret else {})


def _require_member(asked: Mapping[str, Any], name: str, offered: list[str]) -> None:
    """Let a list be absent, and have more than we offer, but not lack the first of that."""
    values = asked.get(name)
    if values is None:
        return
    if not isinstance(values, list) or offered[0] not in values:
        raise InvalidClientMetadata(
            f"{name} must be a list with {offered[0]}; offered: {', '.join(offered)}"
        )


def _redirect_uris(asked: Mapping[str, Any], presets: Presets) -> tuple[str, ...]:
    uris = asked.get("redirect_uris")
    if not isinstance(uris, list) or not all(isinstance(uri, str) for uri in uris):
        raise InvalidRedirectUri("redirect_uris must be a list of texts")
    if not 0 < len(uris) <= MAX_REDIRECT_URIS:
        raise InvalidRedirectUri(f"there must be 1 to {MAX_REDIRECT_URIS} redirect_uris")
    for position, uri in enumerate(uris, start=1):
        if problem := presets.problem(uri):
            raise InvalidRedirectUri(f"redirect URI {position} {problem}", detail=repr(uri[:200]))
    return tuple(dict.fromkeys(uris))


def _require_known(uris: Iterable[str], presets: Presets) -> None:
    elsewhere = [uri for uri in uris if not redirect_uris.is_loopback(uri)]
    if elsewhere and not presets.of_redirect_uris(elsewhere):
        raise InvalidRedirectUri(
            "a redirect URI leads neither to this machine nor to a client that is known here; "
            "whoever runs this server can allow it with oauth.clients.registration.redirects: any",
            detail=repr(elsewhere),
        )


def _reach_nobody_else(uris: Iterable[str]) -> bool:
    """Whether no other program of the person's machine could get an answer."""
    return all(uri.startswith("https:") for uri in uris)


def _auth_method(asked: Mapping[str, Any]) -> str:
    method = _text(asked, "token_endpoint_auth_method") or "client_secret_basic"
    if method not in metadata.AUTH_METHODS:
        offered = ", ".join(metadata.AUTH_METHODS)
        raise InvalidClientMetadata(f"token_endpoint_auth_method must be one of {offered}")
    return method


def _public_keys(document: Any) -> Mapping[str, Any]:
    if problem := jwks.problem(document):
        raise InvalidClientMetadata(f"jwks: {problem}")
    keys = document["keys"]
    if len(keys) > MAX_KEYS:
        raise InvalidClientMetadata(f"jwks may have {MAX_KEYS} keys at most")
    return {"keys": [_public_key(key) for key in keys]}


def _public_key(key: Mapping[str, Any]) -> Mapping[str, str]:
    members = {name: key[name] for name in jwks.PUBLIC if name in key}
    if not all(isinstance(value, str) and value.isprintable() for value in members.values()):
        raise InvalidClientMetadata("a key of jwks has a member that is no plain text")
    return members


def _name(asked: Mapping[str, Any]) -> str:
    name = (_text(asked, "client_name") or "").strip()
    if len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidClientMetadata(
            f"client_name must be {MAX_NAME_LENGTH} printable characters at most"
        )
    return name


def _scopes(asked: Mapping[str, Any], scopes: Scopes) -> tuple[str, ...]:
    words = dict.fromkeys((_text(asked, "scope") or "").split())
    return tuple(scope for scope in words if scope in scopes.texts)


def _text(asked: Mapping[str, Any], name: str) -> str | None:
    value = asked.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidClientMetadata(f"{name} must be text")
    return value
