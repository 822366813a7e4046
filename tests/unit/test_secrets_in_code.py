"""How the code handles secrets: where chance comes from, how they are compared, how they look."""

import ast
import base64
import hmac
import math
import secrets
from pathlib import Path

import pytest

import mcpserve
from mcpserve import crypto

PACKAGE = Path(mcpserve.__file__).parent
CORE = sorted(PACKAGE.rglob("*.py"))
PLUGINS = sorted(PACKAGE.parent.glob("plugins/*/mcpserve_*/**/*.py"))
PREDICTABLE = {"random", "uuid1", "getnode", "SystemRandom"}
SECRETS = {
    "access_token",
    "client_secret",
    "code",
    "code_challenge",
    "code_verifier",
    "cookie",
    "csrf",
    "password",
    "refresh_token",
    "secret",
    "secret_hash",
    "token",
    "verifier",
}
SAME_PERSON = {"password != (parameters.one('password_again') or '')"}
"""Somebody typed both."""


def each(modules):
    return pytest.mark.parametrize(
        "module", modules, ids=lambda path: f"{path.parent.name}/{path.name}"
    )


def names(node):
    """Return every name that is used below here."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr
        elif isinstance(part, ast.alias):
            yield part.name.partition(".")[0]
        elif isinstance(part, ast.ImportFrom):
            yield str(part.module).partition(".")[0]


def values(node):
    """Return the names of what goes into a value: of `a.b` it is `b`, of `a.f(c)` `a` and `c`."""
    if isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.Call):
        called = node.func.value if isinstance(node.func, ast.Attribute) else None
        for part in filter(None, (called, *node.args)):
            yield from values(part)
    elif isinstance(node, ast.Name):
        yield node.id
    else:
        for part in ast.iter_child_nodes(node):
            yield from values(part)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("password", {"password"}),
        ("form.code_verifier", {"code_verifier"}),
        ("token.client_id", {"client_id"}),
        ("pkce(form.code_verifier)", {"code_verifier"}),
        ("token.encode()", {"token"}),
        ("a.cookie[:3]", {"cookie"}),
        ("(secret or b)", {"secret", "b"}),
    ],
)
def test_what_goes_into_a_value_is_found(value, found):
    assert set(values(ast.parse(value, mode="eval"))) == found


@pytest.mark.proves("SE-03")
@each([*CORE, *PLUGINS])
def test_chance_comes_from_the_secrets_module(module):
    assert PREDICTABLE.isdisjoint(names(ast.parse(module.read_text(encoding="utf-8"))))


@pytest.mark.proves("SE-02")
@each(CORE)
def test_no_secret_is_compared_character_by_character(module):
    compared = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare)
        and any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
        and any(
            name in SECRETS
            for operand in (node.left, *node.comparators)
            if not isinstance(operand, ast.Constant)
            for name in values(operand)
        )
    ]
    assert set(compared) <= SAME_PERSON


@pytest.mark.proves("SE-02")
def test_secrets_are_compared_in_constant_time(monkeypatch):
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(
        hmac, "compare_digest", lambda *given: compared.append(given) or real(*given)
    )
    assert crypto.same("é", "é")
    assert not crypto.same("é", "e")
    assert compared == [(b"\xc3\xa9", b"\xc3\xa9"), (b"\xc3\xa9", b"e")]


def derived(prefix):
    """Return a token as a refresh in the reuse window makes it."""
    salt = secrets.token_bytes(16)
    return crypto.derived_token(prefix, parent="the same", salt=salt, key=b"the same")


@pytest.mark.proves("TK-04")
@pytest.mark.parametrize("make", [crypto.new_token, derived])
@pytest.mark.parametrize(
    "prefix",
    [crypto.ACCESS_TOKEN, crypto.REFRESH_TOKEN, crypto.AUTHORIZATION_CODE, crypto.CLIENT_SECRET],
)
def test_every_bit_of_a_token_is_chance(make, prefix):
    tokens = [make(prefix) for _ in range(1000)]
    assert all(token.startswith(prefix) for token in tokens)
    bodies = [base64.urlsafe_b64decode(token.removeprefix(prefix) + "=") for token in tokens]
    assert {len(body) for body in bodies} == {32}
    numbers = [int.from_bytes(body) for body in bodies]
    assert len(set(numbers)) == len(numbers)
    # Six standard deviations: of a hundred thousand runs one fails by chance.
    allowed = 6 * math.sqrt(len(numbers)) / 2
    for bit in range(256):
        ones = sum(number >> bit & 1 for number in numbers)
        assert abs(ones - len(numbers) / 2) < allowed, bit
