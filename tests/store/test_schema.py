"""The schema's own promises: what cannot be written, what is indexed, what is never stored."""

import asyncio
import re
from contextlib import closing

import psycopg2
import pytest
from postgres import new_database, query
from psycopg2 import errors
from store import acts, lab
from tables import contents

from mcpserve.oauth import users

GRANT = "SELECT id FROM mcp_sessions ORDER BY client_id LIMIT 1"
OTHER_GRANT = "SELECT id FROM mcp_sessions ORDER BY client_id DESC LIMIT 1"
TOKEN = f"SELECT id FROM oauth_refresh_tokens WHERE session_id = ({GRANT}) AND parent_id IS NULL"
HOUR = "clock_timestamp() + interval '1 hour'"


def refresh_token(**columns):
    """Return the INSERT of a refresh token of the first grant."""
    values = {
        "digest": "sha256('new'::bytea)",
        "session_id": f"({GRANT})",
        "parent_id": f"({TOKEN})",
        "expires_at": HOUR,
    } | columns
    names, expressions = ", ".join(values), ", ".join(values.values())
    return f"INSERT INTO oauth_refresh_tokens ({names}) SELECT {expressions}"


ROTATE = f"UPDATE oauth_refresh_tokens SET rotated_at = clock_timestamp() WHERE id = ({TOKEN});"
ROTATED = "UPDATE oauth_refresh_tokens SET rotated_at = clock_timestamp(), "
CODE = "UPDATE oauth_authorization_codes SET {} WHERE digest = sha256('{}'::bytea)"
# What nobody may write: the constraint that says so, and the statement.
REFUSED = {
    "a forked lineage": (
        "oauth_refresh_tokens_parent_id_key",
        ROTATE
        + refresh_token(rotated_at="clock_timestamp()")
        + ";"
        + refresh_token(digest="sha256('fork'::bytea)"),
    ),
    "a second root": (
        "oauth_refresh_tokens_root",
        ROTATE + refresh_token(parent_id="NULL"),
    ),
    "two live tokens": ("oauth_refresh_tokens_live", refresh_token()),
    "a parent of another grant": (
        "oauth_refresh_tokens_session_id_parent_id_fkey",
        f"UPDATE oauth_refresh_tokens SET rotated_at = clock_timestamp()"
        f" WHERE session_id = ({OTHER_GRANT});" + refresh_token(session_id=f"({OTHER_GRANT})"),
    ),
    "a parent that is nobody": (
        "oauth_refresh_tokens_session_id_parent_id_fkey",
        ROTATE + refresh_token(parent_id="gen_random_uuid()"),
    ),
    "a token that is its own parent": (
        "oauth_refresh_tokens_check",
        f"UPDATE oauth_refresh_tokens SET parent_id = id WHERE id = ({TOKEN})",
    ),
    "a refresh token twice": (
        "oauth_refresh_tokens_digest_key",
        ROTATE + refresh_token(digest="sha256('rt-0'::bytea)"),
    ),
    "a live token that can be derived": (
        "oauth_refresh_tokens_window_check",
        f"UPDATE oauth_refresh_tokens SET salt = '\\x00', key_id = 'k', reusable_until = {HOUR}"
        f" WHERE id = ({TOKEN})",
    ),
    "a window without an end": (
        "oauth_refresh_tokens_window_check",
        ROTATED + "salt = '\\x00', key_id = 'k'",
    ),
    "a salt without a key": (
        "oauth_refresh_tokens_window_check",
        ROTATED + f"salt = '\\x00', reusable_until = {HOUR}",
    ),
    "a key without a salt": (
        "oauth_refresh_tokens_window_check",
        ROTATED + f"key_id = 'k', reusable_until = {HOUR}",
    ),
    "a retired key that is still kept": (
        "server_keys_check",
        "UPDATE server_keys SET retired_at = clock_timestamp()",
    ),
    "one key twice": (
        "server_keys_pkey",
        "INSERT INTO server_keys (key_id) SELECT key_id FROM server_keys",
    ),
    "a parent that goes before its child": (
        "oauth_refresh_tokens_session_id_parent_id_fkey",
        ROTATE + refresh_token() + f"; DELETE FROM oauth_refresh_tokens WHERE id = ({TOKEN})",
    ),
    "a used code without a grant": (
        "oauth_authorization_codes_check",
        CODE.format("used_at = clock_timestamp()", "code-0"),
    ),
    "an unused code with a grant": (
        "oauth_authorization_codes_check",
        CODE.format("used_at = NULL", "used-0"),
    ),
    "two codes of one grant": (
        "oauth_authorization_codes_session_id",
        CODE.format(f"used_at = clock_timestamp(), session_id = ({GRANT})", "code-0"),
    ),
    "a code without PKCE": (
        "oauth_authorization_codes_code_challenge_check",
        CODE.format("code_challenge = ''", "code-0"),
    ),
    "an active grant that has ended": (
        "mcp_sessions_check",
        "UPDATE mcp_sessions SET ended_at = clock_timestamp()",
    ),
    "a revoked grant that has not ended": (
        "mcp_sessions_check",
        "UPDATE mcp_sessions SET state = 'revoked'",
    ),
    "a grant in another state": (
        "mcp_sessions_state_check",
        "UPDATE mcp_sessions SET state = 'paused', ended_at = clock_timestamp()",
    ),
    "a login without a person": (
        "browser_sessions_check",
        "UPDATE browser_sessions SET user_id = NULL",
    ),
    "a person who never logged in": (
        "browser_sessions_check",
        "UPDATE browser_sessions SET auth_time = NULL",
    ),
    "two names that differ in case": (
        "users_name_key",
        "INSERT INTO users (name, password_hash) VALUES ('USER-0', 'x')",
    ),
    "two addresses that differ in case": (
        "users_email_key",
        "UPDATE users SET email = CASE name WHEN 'user-0' THEN 'a@b.c' ELSE 'A@B.c' END",
    ),
    "an address that is empty": ("users_email_check", "UPDATE users SET email = ''"),
    "a verified address that is none": (
        "users_email_verified_check",
        "UPDATE users SET email_verified = true",
    ),
    "a client without redirect URIs": (
        "oauth_clients_redirect_uris_check",
        "UPDATE oauth_clients SET redirect_uris = '{}'",
    ),
    "a negative window": (
        "oauth_clients_refresh_reuse_window_check",
        "UPDATE oauth_clients SET refresh_reuse_window = interval '-1 s'",
    ),
    "two setup links": (
        "setup_links_pkey",
        f"INSERT INTO setup_links SELECT true, sha256('1'::bytea), {HOUR};"
        f"INSERT INTO setup_links SELECT true, sha256('2'::bytea), {HOUR}",
    ),
    "a second kind of setup link": (
        "setup_links_only_one_check",
        f"INSERT INTO setup_links SELECT false, sha256('1'::bytea), {HOUR}",
    ),
}


@pytest.fixture(scope="module")
def populated(cluster, template):
    """DSN of a database with two grants, in which nothing is committed."""
    with new_database(cluster, template=template) as dsn:
        asyncio.run(populate(dsn, range(2)))
        yield dsn


async def populate(dsn, numbers):
    async with lab.opened(dsn) as db:
        await lab.populate(db, numbers)


def attempt(dsn, statements):
    """Run statements and take them back."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(statements)


def test_what_is_refused_below_is_refused_for_its_reason_only(populated):
    attempt(populated, ROTATE + refresh_token())


@pytest.mark.proves("CC-06")
@pytest.mark.parametrize("what", REFUSED)
def test_the_schema_refuses(populated, what):
    constraint, statements = REFUSED[what]
    with pytest.raises(psycopg2.IntegrityError) as refused:
        attempt(populated, statements)
    assert refused.value.diag.constraint_name == constraint


@pytest.mark.proves("SE-04")
@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_digest_is_of_32_bytes(populated, size):
    with pytest.raises(errors.CheckViolation):
        attempt(populated, f"SELECT decode(repeat('00', {size}), 'hex')::sha256")


@pytest.mark.proves("TK-03", "SE-04")
def test_bytes_are_digests_except_salts_and_keys(populated):
    # This and the next are why a copy of the database opens nothing: salt and key derive nothing
    # without the old token, and with oauth.keys the key is not there either.
    columns = query(
        populated,
        """SELECT c.table_name || '.' || c.column_name, c.domain_name
           FROM information_schema.columns c
           WHERE c.table_schema = 'public' AND c.udt_name = 'bytea' ORDER BY 1""",
    )
    digests = {name for name, domain in columns if domain == "sha256"}
    others = {name for name, _ in columns} - digests
    assert others == {"oauth_refresh_tokens.salt", "server_keys.secret"}
    assert {name for name in digests if not name.endswith("digest")} == set()
    assert len(digests) == 11


@pytest.mark.proves("TK-03", "SE-04")
async def test_no_column_ever_holds_a_token(dsn):
    async with lab.opened(dsn) as db:
        await lab.populate(db)
        secrets = [f"{kind}-0" for kind in ("rt", "at", "code", "used", "request", "cookie")]
        location = await acts.approve(db)
        secrets += re.findall(r"code=([^&]+)", location)
        for answer in (await acts.exchange(db), await acts.refresh_in_window(db)):
            secrets += [answer["access_token"], answer["refresh_token"]]
        await acts.log_in(db)
        secrets.append(str(await users.new_setup_link(db)) + lab.OLD_PASSWORD)
    stored = "\n".join(row for rows in contents(dsn).values() for row in rows)
    forms = [form for secret in secrets for form in (secret, secret.encode().hex())]
    assert len(forms) == 24
    assert [form for form in forms if f'"{form}' in stored or f"x{form}" in stored] == []


def test_every_foreign_key_has_an_index(populated):
    # Else deleting or disabling somebody looks at every row, of each table.
    missing = query(
        populated,
        """SELECT conrelid::regclass::text, conname FROM pg_constraint f
           WHERE contype = 'f' AND NOT EXISTS (
               SELECT FROM pg_index i
               WHERE i.indrelid = f.conrelid AND i.indpred IS NULL
                 AND i.indkey[0] = ANY (f.conkey)
                 AND (i.indnkeyatts = 1 OR cardinality(f.conkey) = 1))""",
    )
    assert missing == []
