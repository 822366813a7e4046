"""What the foreign clients are run from and against: npm's packages, keys and a server."""

import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import postgres
import pytest
from blackbox.foreign import (
    DESKTOP_CLIENT,
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
# The conformance runner needs Node 22, which this package brings as a binary.
SYSTEM = {"Windows": "win"}.get(platform.system(), platform.system().lower())
MACHINE = {"arm64": "arm64", "aarch64": "arm64"}.get(platform.machine(), "x64")
NODE_22 = f"node-{SYSTEM}-{MACHINE}"
PACKAGES = {
    "oauth4webapi": "3.8.8",
    "openid-client": "6.9.0",
    "@modelcontextprotocol/sdk": "1.32.2",
    "@modelcontextprotocol/client": "2.4.0",
    "mcp-remote": "0.15.1",
    "@modelcontextprotocol/inspector": "2.12.0",
    "@modelcontextprotocol/conformance": "0.2.0-alpha.12",
    NODE_22: "22.23.3",
}

PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "key_ops"}
"""Members of a JWK that are not of its public half (RFC 7517 §4.3, RFC 7518 §6)."""


@pytest.fixture(scope="session")
def roomy():
    """A folder for hundreds of megabytes in thousands of files, some of which are programs."""
    with tempfile.TemporaryDirectory(prefix="mcpserve-blackbox-", dir=postgres.memory()) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def npm(roomy):
    """The folder that has every package, and the scripts that import them."""
    program = shutil.which("npm")
    if program is None:
        pytest.skip("there is no npm here")
    quiet = "--no-save --no-package-lock --no-audit --no-fund --ignore-scripts --prefer-offline"
    wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
    command = [program, "install", *quiet.split(), "--prefix", roomy, *wanted]
    installed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert installed.returncode == 0, installed.stderr
    for script in HERE.glob("*.mjs"):
        shutil.copy(script, roomy)
    return roomy


@pytest.fixture(scope="session")
def node_22(npm):
    """Node 22."""
    return npm / "node_modules" / NODE_22 / "bin" / "node"


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
