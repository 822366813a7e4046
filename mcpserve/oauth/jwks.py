"""Key sets of clients (RFC 7517): which key may verify a signature, and whether it does.

Asymmetric algorithms only, and the key decides which: what signs can never be what is published.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWS, PyJWTError
from jwt.algorithms import OKPAlgorithm

from mcpserve.errors import DocumentError

Algorithm = Literal["RS256", "ES256", "EdDSA", "Ed25519"]

ALGORITHMS: Mapping[Algorithm, tuple[str, str | None]] = {
    "RS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
    # What RFC 9864 calls the same.
    "Ed25519": ("OKP", "Ed25519"),
}
"""What signs: by its name, the type and curve of its keys."""

PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""Members that a public key does not have (RFC 7518 §6)."""

PUBLIC = ("kty", "use", "alg", "kid", "crv", "x", "y", "n", "e")
"""Members of a public key that are text."""

RSA_BITS = range(2048, 8192 + 1)
"""Shorter ones can be broken, longer ones keep us busy."""

Jwk = Mapping[str, Any]


def read(document: Any) -> tuple[Jwk, ...]:
    """Return the keys of a set that may verify signatures; all others are passed over.

    Raises :class:`~mcpserve.errors.DocumentError` for what is no key set at all.
    """
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise DocumentError("not a key set: it has no list of keys")
    return tuple(key for key in keys if _unsuited(key) is None)


def problem(document: Any) -> str | None:
    """Say why this is no key set of which every key may verify signatures."""
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not keys:
        return "needs a list of keys"
    return next((f"keys.{n} {why}" for n, key in enumerate(keys) if (why := _flaw(key))), None)


def choose(keys: Iterable[Jwk], algorithm: Algorithm, kid: str | None) -> Jwk | None:
    """Return the one key of this algorithm and id, of any id for ``None``; not one of several."""
    fitting = [
        key for key in keys if _fits(key, algorithm) and (kid is None or key.get("kid") == kid)
    ]
    return fitting[0] if len(fitting) == 1 else None


def has_signed(key: Jwk, algorithm: Algorithm, signed: str) -> bool:
    """Tell whether the key verifies this JWS in compact form (RFC 7515 §7.1)."""
    jws = _jws()
    try:
        jws.decode(signed, _public_key(jws, key, algorithm), algorithms=[algorithm])
    except (PyJWTError, ValueError, TypeError):
        return False
    return True


def _jws() -> PyJWS:
    """Return what knows our algorithms and no other."""
    jws = PyJWS(["RS256", "ES256", "EdDSA"])
    jws.register_algorithm("Ed25519", OKPAlgorithm())
    return jws


def _public_key(jws: PyJWS, key: Jwk, algorithm: Algorithm) -> Any:
    """Return the key itself. Raises PyJWTError, ValueError or TypeError for one that is bad."""
    public_key = jws.get_algorithm_by_name(algorithm).from_jwk(dict(key))
    if isinstance(public_key, RSAPublicKey) and public_key.key_size not in RSA_BITS:
        raise ValueError(f"an RSA key of {public_key.key_size} bits")
    return public_key


def _flaw(key: Any) -> str | None:
    """Say why this is no public key that may verify signatures."""
    if why := _unsuited(key):
        return why
    algorithm = next(name for name in ALGORITHMS if _fits(key, name))
    try:
        _public_key(_jws(), key, algorithm)
    except (PyJWTError, ValueError, TypeError):
        return f"is malformed, or an RSA key of less than {RSA_BITS.start} bits"
    return None


def _unsuited(key: Any) -> str | None:
    """Say the same as far as a look at the key tells it."""
    if not isinstance(key, dict):
        return "is not an object"
    if PRIVATE & key.keys():
        return "has private members, only the public key belongs here"
    uses = key.get("key_ops", ["verify"])
    if key.get("use", "sig") != "sig" or not isinstance(uses, list) or "verify" not in uses:
        return "is not for signatures"
    if not any(_fits(key, algorithm) for algorithm in ALGORITHMS):
        return f"is of none of the algorithms {', '.join(ALGORITHMS)}"
    return None


def _fits(key: Jwk, algorithm: Algorithm) -> bool:
    """Whether the key is for that algorithm; it may but need not name one."""
    kind = ALGORITHMS[algorithm]
    names = [name for name in ALGORITHMS if ALGORITHMS[name] == kind]
    return (key.get("kty"), key.get("crv")) == kind and key.get("alg", algorithm) in names
