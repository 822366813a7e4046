// The TypeScript SDK v1 on Express: stateless, so a server and a transport for each request.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import { createMcpExpressApp } from '@modelcontextprotocol/sdk/server/express.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import pg from 'pg';
import { z } from 'zod';

const lookup = readFileSync(process.env.LOOKUP, 'utf8');
const resource = `http://127.0.0.1:${process.env.PORT}/mcp`;
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });

const verifier = {
  async verifyAccessToken(token) {
    const digest = createHash('sha256').update(token).digest();
    const { rows } = await pool.query(lookup, [digest, resource]);
    if (rows.length === 0) throw new InvalidTokenError('unknown, expired or revoked');
    const [row] = rows;
    return { token, clientId: row.client_id, scopes: row.scopes, expiresAt: row.expires_at };
  },
};

const numbers = { a: z.number().int(), b: z.number().int() };

function makeServer() {
  const server = new McpServer({ name: 'bench', version: '1' });
  server.registerTool(
    'add',
    { description: 'Add two numbers.', inputSchema: numbers },
    async ({ a, b }) => ({ content: [{ type: 'text', text: String(a + b) }] }),
  );
  return server;
}

const app = createMcpExpressApp();
const bearer = requireBearerAuth({ verifier, requiredScopes: ['mcp.tools.call'] });

app.post('/mcp', bearer, async (request, response) => {
  const server = makeServer();
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: undefined,
    enableJsonResponse: true,
  });
  response.on('close', () => {
    transport.close();
    server.close();
  });
  await server.connect(transport);
  await transport.handleRequest(request, response, request.body);
});

app.listen(Number(process.env.PORT), '127.0.0.1');
