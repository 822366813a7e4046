// One authorization by a client that believes nothing: every answer goes through oauth4webapi,
// which throws where the specifications are not followed to the letter.
//
// Reads {resource, clientId, secret, method, redirectUri} from the first line of its input. Writes
// {authorize}: the address to open; reads the address that the browser was sent back to. Writes
// what it saw, as the last line.

import * as oauth from 'oauth4webapi'
import { createInterface } from 'node:readline'

const insecure = { [oauth.allowInsecureRequests]: true }
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const read = async () => (await lines.next()).value
const write = (value) => console.log(JSON.stringify(value))

const { resource, clientId, secret, method, redirectUri } = JSON.parse(await read())
const endpoint = new URL(resource)
const client = { client_id: clientId }
const authentication = {
  none: oauth.None,
  client_secret_basic: oauth.ClientSecretBasic,
  client_secret_post: oauth.ClientSecretPost,
}[method](secret)

const call = (token) =>
  oauth.protectedResourceRequest(
    token,
    'POST',
    endpoint,
    new Headers({
      'Content-Type': 'application/json',
      'MCP-Protocol-Version': '2025-11-25',
      Accept: 'application/json, text/event-stream',
    }),
    JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' }),
    insecure,
  )

// The error of a promise that must fail.
const failure = async (promise) => {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('this should have failed')
}

const seen = {}

// RFC 6750 and RFC 9728: the challenge of the MCP endpoint leads to its metadata.
const challenged = await failure(call('not-a-token'))
const challenge = challenged.cause.find(({ scheme }) => scheme === 'bearer').parameters
seen.challenge = { status: challenged.status, ...challenge }
const described = await oauth.resourceDiscoveryRequest(endpoint, insecure)
seen.metadataUrl = described.url
const protectedResource = await oauth.processResourceDiscoveryResponse(endpoint, described)

// RFC 8414, and OpenID Connect Discovery: both name the same server.
const issuer = new URL(protectedResource.authorization_servers[0])
const servers = {}
for (const algorithm of ['oauth2', 'oidc']) {
  const response = await oauth.discoveryRequest(issuer, { algorithm, ...insecure })
  servers[algorithm] = await oauth.processDiscoveryResponse(issuer, response)
}
const server = servers.oauth2
seen.issuers = Object.values(servers).map(({ issuer }) => issuer)

// RFC 7636, RFC 8707, RFC 9207: the authorization request and its answer.
const state = oauth.generateRandomState()
const verifier = oauth.generateRandomCodeVerifier()
const authorize = new URL(server.authorization_endpoint)
authorize.search = new URLSearchParams({
  response_type: 'code',
  client_id: clientId,
  redirect_uri: redirectUri,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
  state,
  resource,
})
write({ authorize })
const callback = new URL(await read())
let answer
try {
  answer = oauth.validateAuthResponse(server, client, callback, state)
} catch (error) {
  write({ ...seen, denied: error.error })
  process.exit()
}

const exchange = () =>
  oauth.authorizationCodeGrantRequest(
    server, client, authentication, answer, redirectUri, verifier,
    { additionalParameters: { resource }, ...insecure },
  )
const refresh = async (token) =>
  oauth.processRefreshTokenResponse(
    server, client,
    await oauth.refreshTokenGrantRequest(
      server, client, authentication, token,
      { additionalParameters: { resource }, ...insecure },
    ),
  )

const first = await oauth.processAuthorizationCodeResponse(server, client, await exchange())
seen.tokenType = first.token_type
seen.called = (await call(first.access_token)).status

const second = await refresh(first.refresh_token)
seen.rotated = second.refresh_token !== first.refresh_token
seen.calledAgain = (await call(second.access_token)).status

// RFC 7009: with the refresh token everything ends.
await oauth.processRevocationResponse(
  await oauth.revocationRequest(server, client, authentication, second.refresh_token, insecure),
)
const refused = await failure(refresh(second.refresh_token))
seen.refreshRevoked = { status: refused.status, error: refused.error }
seen.callRevoked = (await failure(call(second.access_token))).status

// RFC 6749 §5.2: an error of the token endpoint, as the library reads it.
const replayed = await failure(
  oauth.processAuthorizationCodeResponse(server, client, await exchange()),
)
seen.replayed = { status: replayed.status, error: replayed.error }
write(seen)
