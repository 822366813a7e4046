SELECT s.client_id, s.user_id::text AS user_id, t.scopes, s.resource,
       extract(epoch FROM t.expires_at)::float8 AS expires_at
FROM oauth_access_tokens t JOIN mcp_sessions s ON s.id = t.session_id
WHERE t.digest = $1 AND t.revoked_at IS NULL AND s.state = 'active'
  AND t.expires_at > clock_timestamp() AND s.resource = $2
