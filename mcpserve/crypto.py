"""Secrets: making them, storing only digests of them, comparing them.

A token of ours has 256 random bits, so its plain SHA-256 is a safe index. What a person typed is
hashed with bcrypt, in a bounded pool of threads, because one check costs a fifth of a second.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mcpserve.errors import BadSeal, Overloaded

T = TypeVar("T")

ACCESS_TOKEN = "mcps_at_"  # noqa: S105 - prefixes, so that leak scanners find our tokens
REFRESH_TOKEN = "mcps_rt_"  # noqa: S105
AUTHORIZATION_CODE = "mcps_ac_"
CLIENT_SECRET = "mcps_cs_"  # noqa: S105
SERVER_KEY = "mcps_sk_"

NONCE_BYTES = 12
"""Of AES-GCM; random, which is good for four billion seals with one key."""

PASSWORD_MAX_BYTES = 72
"""bcrypt reads no further; longer passwords are refused instead of cut."""


def new_token(prefix: str = "") -> str:
    """Return a new secret of 256 random bits, URL-safe, behind a prefix that names its kind."""
    return prefix + secrets.token_urlsafe(32)


def digest(token: str) -> bytes:
    """Return the SHA-256 by which a token is stored and found."""
    return hashlib.sha256(token.encode()).digest()


def derived_token(prefix: str, *, parent: str, salt: bytes, key: bytes) -> str:
    """Return the one successor that ``parent`` and ``salt`` determine under a server's key.

    Nobody can compute it without all three, so it can be answered again without being stored.
    """
    mac = hmac.new(key, prefix.encode() + salt + parent.encode(), hashlib.sha256).digest()
    return prefix + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def key_id(key: bytes) -> str:
    """Return the name of a server's key. The key itself tells it, so it shows a mistyped one."""
    return hmac.new(key, b"mcpserve key id", hashlib.sha256).hexdigest()[:12]


def seal(plain: bytes, *, key: bytes, bound_to: bytes) -> bytes:
    """Encrypt what a stranger keeps for us; it opens with the same key and ``bound_to`` only."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + _sealing(key).encrypt(nonce, plain, bound_to)


def unseal(sealed: bytes, *, key: bytes, bound_to: bytes) -> bytes:
    """Return what was sealed. Raises :class:`~mcpserve.errors.BadSeal`."""
    nonce, encrypted = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    try:
        return _sealing(key).decrypt(nonce, encrypted, bound_to)
    except (InvalidTag, ValueError):  # ValueError: not even as long as a nonce
        raise BadSeal from None


def _sealing(key: bytes) -> AESGCM:
    """Return the cipher of a server's key; with a key of its own, derived from that one."""
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"mcpserve seal")
    return AESGCM(derived.derive(key))


def same(left: str, right: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())


def pkce_s256(verifier: str) -> str:
    """Return the ``S256`` challenge of a code verifier (RFC 7636 §4.2)."""
    hashed = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()


def form_token(cookie: str, *parts: str) -> str:
    """Return the CSRF token of a form, bound to the browser's cookie and to what the form decides.

    The cookie itself is the key and the server keeps only its digest, so nothing is stored, and
    a page that is loaded twice shows the same token.
    """
    message = "\0".join(parts).encode()
    return hmac.new(cookie.encode(), message, hashlib.sha256).hexdigest()


def hash_generated_secret(secret: str) -> str:
    """Return what is stored of a client secret that we made: it needs no slow hash."""
    return f"sha256:{digest(secret).hex()}"


def fits_bcrypt(password: str) -> bool:
    """Whether bcrypt would read all of the password."""
    return len(password.encode()) <= PASSWORD_MAX_BYTES and "\0" not in password


class PasswordHasher:
    """bcrypt in a few threads, with a bounded queue in front of them."""

    def __init__(self, rounds: int, *, threads: int = 2, queue: int = 32) -> None:
        self._rounds = rounds
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="bcrypt")
        self._free = threads + queue
        # A hash of nothing known: to compare with it is as slow, and to make it costs no start.
        self._nobody = bcrypt.gensalt(rounds) + b"." * 31

    def close(self) -> None:
        """End the threads; a check that runs is finished first."""
        self._executor.shutdown(cancel_futures=True)

    async def hash_password(self, password: str) -> str:
        """Return the bcrypt hash of a password that :func:`fits_bcrypt`.

        Raises :class:`~mcpserve.errors.Overloaded` when too many checks wait.
        """
        salt = bcrypt.gensalt(self._rounds)
        return (await self._run(lambda: bcrypt.hashpw(password.encode(), salt))).decode()

    async def verify_password(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is right; as slow for nobody (``None``) as for somebody.

        Raises :class:`~mcpserve.errors.Overloaded` when too many checks wait.
        """
        stored = password_hash.encode() if password_hash else self._nobody
        candidate = password.encode() if fits_bcrypt(password) else b""
        matches = await self._run(lambda: bcrypt.checkpw(candidate, stored))
        return matches and password_hash is not None and fits_bcrypt(password)

    async def hash_typed_secret(self, secret: str) -> str:
        """Return what is stored of a client secret that a person chose; of any length."""
        return f"bcrypt:{await self.hash_password(_condensed(secret))}"

    async def verify_secret(self, secret: str, secret_hash: str | None) -> bool:
        """Whether a client secret is right; for an unknown client (``None``) as slow as bcrypt."""
        kind, _, stored = (secret_hash or "bcrypt:").partition(":")
        if kind == "sha256":
            if hmac.compare_digest(digest(secret).hex(), stored):
                return True
            # As slow as for an unknown client: the time must not tell which clients there are.
            stored = ""
        return await self.verify_password(_condensed(secret), stored or None)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._free == 0:
            raise Overloaded("too many passwords are being checked")
        self._free -= 1
        future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        # The place is free when the thread is, even if the caller went away.
        future.add_done_callback(self._release)
        return await asyncio.shield(future)

    def _release(self, _: object) -> None:
        self._free += 1


def _condensed(secret: str) -> str:
    return base64.b64encode(digest(secret)).decode()
