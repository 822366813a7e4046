"""Clients that register themselves: good requests, and how they are sent."""

import json

from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from serving import Running

CHATGPT = "https://chatgpt.com/connector/oauth/abc_123"
LOOPBACK = "http://127.0.0.1:4711/callback"
BODY = {
    "client_name": "My Client",
    "redirect_uris": [LOOPBACK],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}
SIGNING_KEY = ec.generate_private_key(ec.SECP256R1())
KEY = {**ECAlgorithm.to_jwk(SIGNING_KEY.public_key(), as_dict=True), "kid": "1"}


def registration(**settings):
    """Return settings of registration."""
    return {"oauth": {"clients": {"registration": settings}}}


async def post(server, body, **headers):
    """Post to /register."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | headers
    async with server.http() as http:
        return await http.post("/register", content=content, headers=headers)


def without(*names, **changes):
    """Return a good body that lacks or changes something."""
    return {name: value for name, value in (BODY | changes).items() if name not in names}


async def refused(server, body, error="invalid_client_metadata", status=400):
    """Check a refusal and return its text."""
    answer = await post(server, body)
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"].startswith("application/json")
    return answer.json()["error_description"]


async def register(server: Running, *redirect_uris: str, **members: object) -> str:
    """Register a public client and return its id."""
    asked = {"redirect_uris": redirect_uris, "token_endpoint_auth_method": "none"} | members
    async with server.http() as http:
        answer = await http.post("/register", json=asked)
    assert answer.status_code == 201, answer.text
    client_id: str = answer.json()["client_id"]
    return client_id
