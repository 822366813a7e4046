-- Clients that register themselves or publish a document, client assertions, the key ring, and
-- what happened.

-- A client's methods were told by its secret alone.
ALTER TABLE oauth_clients
    DROP CONSTRAINT oauth_clients_origin_check,
    ADD CONSTRAINT oauth_clients_origin_check
        CHECK (origin IN ('config', 'cli', 'registration', 'metadata_document')),
    ADD COLUMN auth_methods text[],
    -- Public keys for private_key_jwt: themselves, or where they are published.
    ADD COLUMN jwks jsonb,
    ADD COLUMN jwks_uri text,
    -- What it gets when it asks for nothing; empty: the server's default.
    ADD COLUMN scopes text[] NOT NULL DEFAULT '{}',
    -- It may ask about the access tokens of all clients, not only about its own.
    ADD COLUMN may_introspect boolean NOT NULL DEFAULT false,
    -- The preset that its redirect URIs or its document belong to.
    ADD COLUMN preset text,
    -- Of its metadata document. What is under way is bound to it.
    ADD COLUMN document_digest sha256,
    -- When a code was last exchanged; NULL: nobody ever completed a login with it.
    ADD COLUMN last_used_at timestamptz;

UPDATE oauth_clients SET auth_methods = CASE
    WHEN client_secret_hash IS NULL THEN '{none}'::text[]
    ELSE '{client_secret_basic,client_secret_post}'::text[] END;
UPDATE oauth_clients c SET last_used_at = s.last_used_at
    FROM (SELECT client_id, max(last_used_at) AS last_used_at FROM mcp_sessions GROUP BY client_id) s
    WHERE s.client_id = c.client_id;

ALTER TABLE oauth_clients
    ALTER COLUMN auth_methods SET NOT NULL,
    ADD CHECK (cardinality(auth_methods) > 0),
    ADD CHECK (auth_methods <@ '{none,client_secret_basic,client_secret_post,private_key_jwt}'::text[]),
    ADD CHECK ((client_secret_hash IS NOT NULL)
               = (auth_methods && '{client_secret_basic,client_secret_post}'::text[])),
    ADD CHECK ((num_nonnulls(jwks, jwks_uri) = 1) = ('private_key_jwt' = ANY(auth_methods))),
    ADD CHECK ((origin = 'metadata_document') = (document_digest IS NOT NULL));

-- Clients that nobody here keeps go when they are not used; how many were never used is limited.
CREATE INDEX oauth_clients_disuse ON oauth_clients (last_used_at, created_at)
    WHERE origin IN ('registration', 'metadata_document');

ALTER TABLE authorization_requests
    ADD COLUMN client_document_digest sha256,
    -- It named no scope: the person's usual ones for this client are meant.
    ADD COLUMN usual_scopes boolean NOT NULL DEFAULT false;

ALTER TABLE oauth_authorization_codes
    ADD COLUMN client_document_digest sha256,
    -- The id that the grant will have: so what was consented to is part of its story.
    ADD COLUMN future_session_id uuid NOT NULL DEFAULT gen_random_uuid();

-- The keys that successors are derived with; key_id is told by the key itself and so checks it.
CREATE TABLE server_keys (
    key_id     text PRIMARY KEY,
    -- NULL: kept in the configuration, or retired.
    secret     bytea,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_at timestamptz,
    CHECK (secret IS NULL OR retired_at IS NULL)
);

ALTER TABLE oauth_refresh_tokens
    ADD COLUMN key_id text,
    -- How often its answer was given again.
    ADD COLUMN repeats smallint NOT NULL DEFAULT 0;

-- What was derived without a key cannot be again, but who asks for it in its window is no thief: as
-- with any key that was retired.
UPDATE oauth_refresh_tokens SET salt = NULL, reusable_until = NULL
    WHERE num_nonnulls(salt, reusable_until) = 1;
UPDATE oauth_refresh_tokens SET key_id = 'none' WHERE salt IS NOT NULL;
INSERT INTO server_keys (key_id, retired_at)
    SELECT DISTINCT key_id, clock_timestamp() FROM oauth_refresh_tokens WHERE key_id IS NOT NULL;

ALTER TABLE oauth_refresh_tokens
    DROP CONSTRAINT oauth_refresh_tokens_check1,
    -- An open window is all of it, on a token that was rotated.
    ADD CONSTRAINT oauth_refresh_tokens_window_check
        CHECK (num_nonnulls(salt, key_id, reusable_until) IN (0, 3)
               AND (salt IS NULL OR rotated_at IS NOT NULL));

-- The last good copy of what clients publish: metadata documents and key sets.
CREATE TABLE oauth_documents (
    url         text PRIMARY KEY,
    -- As it came: jsonb takes less than JSON allows.
    body        text NOT NULL,
    fetched_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    fresh_until timestamptz NOT NULL
);

CREATE INDEX oauth_documents_fetched_at ON oauth_documents (fetched_at);

-- Assertions (RFC 7523) that were used; each is good once.
CREATE TABLE oauth_client_assertions (
    digest     sha256 PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

CREATE INDEX oauth_client_assertions_expires_at ON oauth_client_assertions (expires_at);

-- What happened, for operators. Rows are added, and deleted when they are old; never changed.
-- No foreign keys: the story of a grant outlives its rows.
CREATE TABLE auth_events (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    event      text NOT NULL,
    grant_id   uuid,
    client_id  text,
    user_id    uuid,
    -- Where the request came from.
    network    text,
    request_id text,
    -- The operating system's user, for commands.
    operator   text,
    details    jsonb NOT NULL DEFAULT '{}'
);

CREATE INDEX auth_events_at ON auth_events (at);
CREATE INDEX auth_events_grant_id ON auth_events (grant_id) WHERE grant_id IS NOT NULL;
CREATE INDEX auth_events_client_id ON auth_events (client_id, event) WHERE grant_id IS NULL;
CREATE INDEX auth_events_user_id ON auth_events (user_id, event) WHERE grant_id IS NULL;

CREATE FUNCTION auth_events_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'auth_events are added and deleted when old, never changed';
END $$;

CREATE TRIGGER auth_events_never_change BEFORE UPDATE ON auth_events
    FOR EACH ROW EXECUTE FUNCTION auth_events_stay();
CREATE TRIGGER auth_events_are_never_emptied BEFORE TRUNCATE ON auth_events
    FOR EACH STATEMENT EXECUTE FUNCTION auth_events_stay();
CREATE TRIGGER auth_events_are_kept BEFORE DELETE ON auth_events
    FOR EACH ROW WHEN (OLD.at > clock_timestamp() - interval '30 days')
    EXECUTE FUNCTION auth_events_stay();
