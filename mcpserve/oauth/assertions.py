"""Client assertions: ``private_key_jwt`` (RFC 7523, OpenID Connect Core §9).

A client signs, once for each request, who it is and whom it tells that. Nothing in an assertion is
followed: keys come from what is registered for the client, never from a header.
"""

import base64
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mcpserve import strict_json
from mcpserve.crypto import digest
from mcpserve.db import Database
from mcpserve.errors import InvalidClient
from mcpserve.oauth import jwks
from mcpserve.oauth.documents import Documents
from mcpserve.oauth.jwks import Algorithm, Jwk
from mcpserve.oauth.store import assertions as store
from mcpserve.oauth.store.clients import Client

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_COMPACT = re.compile(r"([\w-]+)\.([\w-]+)\.[\w-]+", re.ASCII)
_END_OF_TIME = 253402300799
"""The last second of the year 9999, which the database still knows."""

Text = Annotated[str, Field(pattern=r"^\P{C}+$")]
Moment = Annotated[float, Field(ge=0, le=_END_OF_TIME, allow_inf_nan=False)]


class Header(BaseModel):
    """The header of an assertion; members that would have to be followed are not read."""

    model_config = ConfigDict(frozen=True, strict=True)

    alg: Algorithm
    kid: str | None = None
    crit: None = None
    """What it calls critical is not understood, whatever it is."""


class Claims(BaseModel):
    """What an assertion says (RFC 7523 §3), in the form that it must have."""

    model_config = ConfigDict(frozen=True, strict=True)

    iss: Text
    sub: Text
    aud: Text | Annotated[list[Text], Field(min_length=1, max_length=1)]
    exp: Moment
    iat: Moment = 0
    """Without it, or if it is long ago, ``exp`` must be near."""
    nbf: Moment = 0
    jti: Annotated[Text, Field(max_length=200)]


@dataclass(frozen=True)
class Assertion:
    """An assertion as it came: nothing of it is proven."""

    text: str
    header: Header
    claims: Claims

    @property
    def client_id(self) -> str:
        """Who is said to have made it."""
        return self.claims.iss

    @property
    def audience(self) -> str:
        """Whom it was made for."""
        aud = self.claims.aud
        return aud if isinstance(aud, str) else aud[0]


def parse(text: str) -> Assertion:
    """Read an assertion. Raises :class:`~mcpserve.errors.InvalidClient` if it cannot be one."""
    parts = _COMPACT.fullmatch(text)
    if parts is None:
        raise InvalidClient(detail="the assertion is no signed JWT")
    try:
        head, said = _object(parts[1]), _object(parts[2])
    except ValueError:
        raise InvalidClient(detail="the assertion is malformed") from None
    try:
        header, claims = Header.model_validate(head), Claims.model_validate(said)
    except ValidationError as error:
        raise InvalidClient(
            detail=f"the assertion of {_claimed(said)} is wrong at {_places(error)}"
        ) from None
    if claims.iss != claims.sub:
        raise InvalidClient(detail=f"the assertion of {_claimed(said)} is about another")
    return Assertion(text, header, claims)


def _claimed(said: dict[str, Any]) -> str:
    """Return the client id that is claimed, for the log."""
    iss = said.get("iss")
    return repr(iss[:200]) if isinstance(iss, str) else "nobody"


def _places(error: ValidationError) -> str:
    return ", ".join(dict.fromkeys(str(problem["loc"][0]) for problem in error.errors()))


async def verify(
    db: Database,
    key_sets: Documents,
    client: Client,
    assertion: Assertion,
    *,
    audiences: Collection[str],
) -> None:
    """Make sure that the client made this assertion for one of us, now and for this request only.

    It is used up only if all else is right. Raises :class:`~mcpserve.errors.InvalidClient`, and
    :class:`~mcpserve.errors.DocumentError` if the client's keys cannot be had at all.
    """
    of = f"of the client {client.client_id!r}"
    if assertion.audience not in audiences:
        raise InvalidClient(detail=f"the assertion {of} is for somebody else")
    key = await _key(db, key_sets, client, assertion.header)
    if key is None:
        raise InvalidClient(detail=f"the assertion {of} names a key that it does not have")
    if not jwks.has_signed(key, assertion.header.alg, assertion.text):
        raise InvalidClient(detail=f"the signature of the assertion {of} is wrong")
    claims = assertion.claims
    async with db.transaction() as tx:
        used = await store.use(
            tx,
            digest(f"{client.client_id}\0{claims.jti}"),
            expires=claims.exp,
            issued=claims.iat,
            not_before=claims.nbf,
        )
    if not used:
        raise InvalidClient(detail=f"the assertion {of} was used before or is not good now")


async def _key(db: Database, key_sets: Documents, client: Client, header: Header) -> Jwk | None:
    """Return the client's key that the header means; one that is new is looked for once more."""
    if client.jwks_uri is None:
        return jwks.choose(jwks.read(client.jwks), header.alg, header.kid)
    for refetch in (False, True):
        keys = await key_sets.get(db, client.jwks_uri, jwks.read, refetch=refetch)
        if key := jwks.choose(keys, header.alg, header.kid):
            return key
    return None


def _object(part: str) -> dict[str, Any]:
    """Decode a part of a JWT. Raises :class:`ValueError`, also for a name that is there twice."""
    decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()
    found = strict_json.loads(decoded)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found
