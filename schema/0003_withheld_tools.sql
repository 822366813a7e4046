-- Tools that a person did not allow a client, although the scopes do.

-- Withheld and not allowed ones: a tool that a plugin adds later is covered by its scope.
ALTER TABLE mcp_sessions
    ADD COLUMN withheld_tools text[] NOT NULL DEFAULT '{}';

ALTER TABLE oauth_authorization_codes
    ADD COLUMN withheld_tools text[] NOT NULL DEFAULT '{}';
