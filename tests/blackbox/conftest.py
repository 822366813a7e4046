"""What the foreign clients are run from and against: npm's packages, keys and a server."""

import shutil
from pathlib import Path

import postgres
import pytest
from blackbox.foreign import (
    DESKTOP_CLIENT,
    IDENTITY_CLIENT,
    KEYS_CLIENT,
    LOOPBACK,
    PLAIN_CLIENT,
    PLAIN_SECRET,
)
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from e2e.pair import started_pair
from e2e.process import add_user, configure, started
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from serving import CALLBACK, CLIENTS
from tls import Authority

HERE = Path(__file__).parent
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "key_ops"}
"""Members of a JWK that are not of its public half (RFC 7517 §4.3, RFC 7518 §6)."""


@pytest.fixture(scope="session")
def npm(npm):
    """The folder that has every package, and the scripts that import them."""
    for script in HERE.glob("*.mjs"):
        shutil.copy(script, npm)
    return npm


@pytest.fixture(scope="session")
def keys():
    """A private key (JWK) for each algorithm of private_key_jwt."""
    made = {
        "RS256": RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048), as_dict=True),
        "ES256": ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True),
        "EdDSA": OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate(), as_dict=True),
        # What RFC 9864 calls it.
        "Ed25519": OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate(), as_dict=True),
    }
    return {name: {**key, "kid": name, "alg": name} for name, key in made.items()}


@pytest.fixture(scope="session")
def configured(keys):
    """Every client that is configured, whichever server."""
    public = [
        {name: value for name, value in key.items() if name not in PRIVATE} for key in keys.values()
    ]
    return [
        *CLIENTS,
        {"id": KEYS_CLIENT, "redirect_uris": [CALLBACK], "jwks": {"keys": public}},
        {"id": PLAIN_CLIENT, "redirect_uris": [CALLBACK], "secret": PLAIN_SECRET},
        {"id": DESKTOP_CLIENT, "redirect_uris": LOOPBACK},
        {"id": IDENTITY_CLIENT, "redirect_uris": [CALLBACK], "secret": PLAIN_SECRET},
    ]


@pytest.fixture(scope="session", params=["one process", "two processes"])
def server(request, cluster, template, configured, tmp_path_factory):
    """A server for all tests that leave it as it was; then two, which take requests in turn."""
    folder = tmp_path_factory.mktemp("server")
    sections = {"oauth": {"clients": {"configured": configured}}}
    with postgres.new_database(cluster, template=template) as dsn:
        if request.param == "two processes":
            with started_pair(folder, dsn, **sections) as pair:
                yield pair
            return
        config = configure(folder, dsn=dsn, **sections)
        add_user(config)
        with started(config) as process:
            yield process


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Who certifies the hosts that publish documents of clients."""
    return Authority(tmp_path_factory.mktemp("tls"))
