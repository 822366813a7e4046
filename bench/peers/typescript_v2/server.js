// The TypeScript SDK v2 on Express: its own handler for both eras, as its documentation shows.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { createMcpExpressApp, requireBearerAuth } from '@modelcontextprotocol/express';
import { toNodeHandler } from '@modelcontextprotocol/node';
import * as mcp from '@modelcontextprotocol/server';
import pg from 'pg';
import { z } from 'zod';

const lookup = readFileSync(process.env.LOOKUP, 'utf8');
const resource = `http://127.0.0.1:${process.env.PORT}/mcp`;
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });

const verifier = {
  async verifyAccessToken(token) {
    const digest = createHash('sha256').update(token).digest();
    const { rows } = await pool.query(lookup, [digest, resource]);
    if (rows.length === 0) {
      throw new mcp.OAuthError(mcp.OAuthErrorCode.InvalidToken, 'unknown, expired or revoked');
    }
    const [row] = rows;
    return { token, clientId: row.client_id, scopes: row.scopes, expiresAt: row.expires_at };
  },
};

const numbers = z.object({ a: z.number().int(), b: z.number().int() });

function makeServer() {
  const server = new mcp.McpServer({ name: 'bench', version: '1' });
  server.registerTool(
    'add',
    { description: 'Add two numbers.', inputSchema: numbers },
    async ({ a, b }) => ({ content: [{ type: 'text', text: String(a + b) }] }),
  );
  return server;
}

const app = createMcpExpressApp();
const bearer = requireBearerAuth({ verifier, requiredScopes: ['mcp.tools.call'] });
const handler = toNodeHandler(mcp.createMcpHandler(makeServer));

app.post('/mcp', bearer, (request, response) => handler(request, response, request.body));

app.listen(Number(process.env.PORT), '127.0.0.1');
