-- Everything that the authorization server remembers.
--
-- Tokens, codes, session cookies and links are stored as their SHA-256 digest only. Expiry is judged by
-- clock_timestamp(). Every writer locks a grant (mcp_sessions) before its tokens.

CREATE DOMAIN sha256 AS bytea CHECK (octet_length(VALUE) = 32);

CREATE TABLE users (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name          text NOT NULL CHECK (name <> ''),
    password_hash text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    disabled_at   timestamptz
);

-- Alice and alice are one person.
CREATE UNIQUE INDEX users_name_key ON users (lower(name));

CREATE TABLE oauth_clients (
    client_id            text PRIMARY KEY CHECK (client_id <> ''),
    client_name          text NOT NULL CHECK (client_name <> ''),
    -- NULL: a public client. Else how it was hashed and the hash, see mcpserve.crypto.
    client_secret_hash   text,
    redirect_uris        text[] NOT NULL CHECK (cardinality(redirect_uris) > 0),
    -- NULL: as configured for all clients.
    refresh_reuse_window interval CHECK (refresh_reuse_window >= interval '0'),
    -- Who keeps the row: the configuration, or the command line.
    origin               text NOT NULL CHECK (origin IN ('config', 'cli')),
    created_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    disabled_at          timestamptz
);

-- A grant: what a person allowed a client. Its tokens live only while it is active.
CREATE TABLE mcp_sessions (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    client_id    text NOT NULL REFERENCES oauth_clients ON DELETE CASCADE,
    user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    scopes       text[] NOT NULL,
    resource     text NOT NULL,
    state        text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'revoked', 'compromised')),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- When the person logged in.
    auth_time    timestamptz NOT NULL,
    -- The end of the whole lineage; refreshing does not move it.
    expires_at   timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at     timestamptz,
    CHECK ((state = 'active') = (ended_at IS NULL))
);

CREATE INDEX mcp_sessions_client_id ON mcp_sessions (client_id);
CREATE INDEX mcp_sessions_user_id ON mcp_sessions (user_id);
-- When it was over, for whatever reason: LEAST leaves out what is NULL.
CREATE INDEX mcp_sessions_over ON mcp_sessions (LEAST(ended_at, expires_at));

CREATE TABLE oauth_authorization_codes (
    digest         sha256 PRIMARY KEY,
    client_id      text NOT NULL REFERENCES oauth_clients ON DELETE CASCADE,
    user_id        uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    redirect_uri   text NOT NULL,
    scopes         text[] NOT NULL,
    resource       text NOT NULL,
    -- Base64url of SHA-256; no other method is stored or accepted.
    code_challenge text NOT NULL CHECK (length(code_challenge) = 43),
    auth_time      timestamptz NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at     timestamptz NOT NULL,
    failures       smallint NOT NULL DEFAULT 0,
    used_at        timestamptz,
    -- The grant that the code was exchanged for; a replay ends it.
    session_id     uuid REFERENCES mcp_sessions ON DELETE CASCADE,
    CHECK ((used_at IS NULL) = (session_id IS NULL))
);

CREATE UNIQUE INDEX oauth_authorization_codes_session_id ON oauth_authorization_codes (session_id);
-- A used code goes with its grant.
CREATE INDEX oauth_authorization_codes_expires_at ON oauth_authorization_codes (expires_at)
    WHERE used_at IS NULL;
CREATE INDEX oauth_authorization_codes_client_id ON oauth_authorization_codes (client_id);
CREATE INDEX oauth_authorization_codes_user_id ON oauth_authorization_codes (user_id);

CREATE TABLE oauth_refresh_tokens (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    digest         sha256 NOT NULL UNIQUE,
    session_id     uuid NOT NULL REFERENCES mcp_sessions ON DELETE CASCADE,
    parent_id      uuid,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at     timestamptz NOT NULL,
    rotated_at     timestamptz,
    revoked_at     timestamptz,
    -- While set, the successor can be derived again for a client that lost the answer.
    salt           bytea,
    reusable_until timestamptz,
    UNIQUE (session_id, id),
    -- The parent is of the same grant and has one child at most: lineage is a path.
    -- No cascade: only a whole family is ever deleted.
    FOREIGN KEY (session_id, parent_id) REFERENCES oauth_refresh_tokens (session_id, id),
    UNIQUE (parent_id),
    CHECK (parent_id <> id),
    CHECK (salt IS NULL OR (rotated_at IS NOT NULL AND reusable_until IS NOT NULL))
);

-- One root and one live token in a grant: with UNIQUE (parent_id) a fork cannot be written.
CREATE UNIQUE INDEX oauth_refresh_tokens_root ON oauth_refresh_tokens (session_id) WHERE parent_id IS NULL;
CREATE UNIQUE INDEX oauth_refresh_tokens_live ON oauth_refresh_tokens (session_id)
    WHERE rotated_at IS NULL AND revoked_at IS NULL;
CREATE INDEX oauth_refresh_tokens_reusable_until ON oauth_refresh_tokens (reusable_until)
    WHERE reusable_until IS NOT NULL;

CREATE TABLE oauth_access_tokens (
    digest     sha256 PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES mcp_sessions ON DELETE CASCADE,
    scopes     text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);

CREATE INDEX oauth_access_tokens_session_id ON oauth_access_tokens (session_id);
CREATE INDEX oauth_access_tokens_expires_at ON oauth_access_tokens (expires_at);
CREATE INDEX oauth_access_tokens_revoked_at ON oauth_access_tokens (revoked_at) WHERE revoked_at IS NOT NULL;

-- A browser at our pages; user_id is set once somebody logged in there.
CREATE TABLE browser_sessions (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    digest     sha256 NOT NULL UNIQUE,
    user_id    uuid REFERENCES users ON DELETE CASCADE,
    auth_time  timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    CHECK ((user_id IS NULL) = (auth_time IS NULL))
);

CREATE INDEX browser_sessions_user_id ON browser_sessions (user_id);
CREATE INDEX browser_sessions_expires_at ON browser_sessions (expires_at);

-- An authorization request that waits for login and consent in one browser.
CREATE TABLE authorization_requests (
    digest             sha256 PRIMARY KEY,
    browser_session_id uuid NOT NULL REFERENCES browser_sessions ON DELETE CASCADE,
    client_id          text NOT NULL REFERENCES oauth_clients ON DELETE CASCADE,
    redirect_uri       text NOT NULL,
    state              text,
    scopes             text[] NOT NULL,
    resource           text NOT NULL,
    code_challenge     text NOT NULL CHECK (length(code_challenge) = 43),
    -- prompt=login: only a login after created_at counts.
    fresh_login        boolean NOT NULL DEFAULT false,
    created_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at         timestamptz NOT NULL,
    decided_at         timestamptz
);

CREATE INDEX authorization_requests_expires_at ON authorization_requests (expires_at);
CREATE INDEX authorization_requests_browser_session_id ON authorization_requests (browser_session_id);
CREATE INDEX authorization_requests_client_id ON authorization_requests (client_id);

-- The one link that creates the first user.
CREATE TABLE setup_links (
    only_one   boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    digest     sha256 NOT NULL,
    expires_at timestamptz NOT NULL
);

-- Failures in a window of time. Losing them in a crash of the database is harmless.
CREATE UNLOGGED TABLE rate_limits (
    digest     sha256 PRIMARY KEY,
    failures   integer NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE INDEX rate_limits_expires_at ON rate_limits (expires_at);
