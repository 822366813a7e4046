"""Clients that sign who they are: keys, key sets, assertions good and bad."""

import functools
import json
import time
import uuid
from base64 import urlsafe_b64encode
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms
from serving import CALLBACK, PUBLIC_CLIENT, SECRET, SECRET_CLIENT, Flow, Running

from mcpserve.errors import FetchError
from mcpserve.fetch import Fetched

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SIGNING_CLIENT = "signing-client"
KINDS = ("RS256", "ES256", "EdDSA")
"""Algorithms with a kind of key of their own."""
PUBLISHED_AT = "https://signing.example/jwks.json"

_ALGORITHMS = get_default_algorithms()


@functools.cache
def private_key(algorithm: str, number: int = 0, *, bits: int = 2048) -> Any:
    """Return a private key; another one for each number."""
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(65537, bits)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def jwk(key: Any, *, private: bool = False, **members: Any) -> dict[str, Any]:
    """Return a key as it is published, with more members."""
    shown = key if private else key.public_key()
    return {**_ALGORITHMS[kind_of(key)].to_jwk(shown, as_dict=True), **members}


def kind_of(key: Any) -> str:
    """Return the algorithm that a private key signs with."""
    if isinstance(key, rsa.RSAPrivateKey):
        return "RS256"
    return "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "EdDSA"


def key_set(*keys: dict[str, Any]) -> dict[str, Any]:
    """Return a JWK set; by default with one key of each kind, named by its algorithm."""
    return {"keys": list(keys) or [jwk(private_key(kind), kid=kind) for kind in KINDS]}


def part(value: dict[str, Any] | bytes) -> str:
    """Encode a part of a JWT."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(text).rstrip(b"=").decode()


def signed(header: dict[str, Any] | bytes, claims: dict[str, Any] | bytes, key: Any) -> str:
    """Return a JWT, whatever is in it, signed as the key does it."""
    text = f"{part(header)}.{part(claims)}"
    return f"{text}.{part(_ALGORITHMS[kind_of(key)].sign(text.encode(), key))}"


def good_claims(audience: str, **changes: Any) -> dict[str, Any]:
    """Return claims of :data:`SIGNING_CLIENT` with changes; ``None`` leaves one out."""
    now = int(time.time())
    claims = {
        "iss": SIGNING_CLIENT,
        "sub": SIGNING_CLIENT,
        "aud": audience,
        "exp": now + 60,
        "iat": now,
        "jti": str(uuid.uuid4()),
    } | changes
    return {name: value for name, value in claims.items() if value is not None}


def assertion(
    audience: str, kind: str = "ES256", *, header: dict[str, Any] | None = None, **claims: Any
) -> str:
    """Return a good assertion, but for what is changed in its header and claims."""
    kid = "EdDSA" if kind == "Ed25519" else kind  # Two names of one algorithm.
    members = {"alg": kind, "kid": kid} | (header or {})
    members = {name: value for name, value in members.items() if value is not None}
    return signed(members, good_claims(audience, **claims), private_key(kid))


def proof(text: str, **changes: str | None) -> dict[str, str | None]:
    """Return the fields of a form in which a client proves itself so."""
    return {"client_assertion": text, "client_assertion_type": TYPE} | changes


def fresh(server: Running, kind: str = "ES256", **changes: Any) -> dict[str, str | None]:
    """Return the fields with a new assertion for this server."""
    return proof(assertion(server.services.server.issuer, kind, **changes))


def signing_flow(server: Running) -> Flow:
    """Return the flow of the client that signs; each request needs its own proof."""
    return Flow(server, client_id=SIGNING_CLIENT)


def signing_client(**settings: Any) -> dict[str, Any]:
    """Return the configuration of :data:`SIGNING_CLIENT`."""
    keys = {} if "jwks_uri" in settings else {"jwks": key_set()}
    return {"id": SIGNING_CLIENT, "redirect_uris": [CALLBACK], **keys, **settings}


class Published:
    """What clients publish: documents by URL, or the error that fetching them ends with."""

    def __init__(self, documents: dict[str, Any]) -> None:
        self.documents = documents
        self.fetched: list[str] = []

    async def get_json(self, url: str) -> Fetched:
        """Return the document."""
        self.fetched.append(url)
        if url not in self.documents:
            raise FetchError(f"{url}: it is not there")
        return Fetched(json.dumps(self.documents[url]).encode(), None)


def settings(*configured: dict[str, Any], failures: int = 1000) -> dict[str, Any]:
    """Return settings with the client that signs, and the others."""
    others = [
        {"id": PUBLIC_CLIENT, "redirect_uris": [CALLBACK]},
        {"id": SECRET_CLIENT, "redirect_uris": [CALLBACK], "secret": SECRET},
    ]
    known = [*(configured or [signing_client()]), *others]
    return {
        "oauth": {"clients": {"configured": known}},
        "limits": {name: {"failures": failures} for name in ("token", "revoke")},
    }


async def check(server: Running, fields: dict[str, Any]) -> httpx.Response:
    """Ask for the end of a token that does not exist; whoever is let in succeeds."""
    return await signing_flow(server).post("/revoke", token="x", **fields)
