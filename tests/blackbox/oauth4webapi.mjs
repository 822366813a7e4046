// One authorization by a client that believes nothing: every answer goes through oauth4webapi,
// which throws where the specifications are not followed to the letter.

import * as oauth from 'oauth4webapi'
import { ask, failure, read, signingKey, tell } from './dialogue.mjs'

const insecure = { [oauth.allowInsecureRequests]: true }

const { resource, clientId, secret, key, method, redirectUri, scope } = await read()
const endpoint = new URL(resource)
const client = { client_id: clientId }
const authentication = {
  none: () => oauth.None(),
  client_secret_basic: () => oauth.ClientSecretBasic(secret),
  client_secret_post: () => oauth.ClientSecretPost(secret),
  private_key_jwt: async () =>
    oauth.PrivateKeyJwt(await signingKey(key), {
      [oauth.modifyAssertion]: (header) => void (header.alg = key.alg),
    }),
}
const authenticate = await authentication[method]()

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
  ...(scope && { scope }),
})
const callback = new URL(await ask('authorize', authorize))

const exchange = (answer) =>
  oauth.authorizationCodeGrantRequest(
    server, client, authenticate, answer, redirectUri, verifier,
    { additionalParameters: { resource }, ...insecure },
  )
const refresh = async (token) =>
  oauth.processRefreshTokenResponse(
    server, client,
    await oauth.refreshTokenGrantRequest(
      server, client, authenticate, token,
      { additionalParameters: { resource }, ...insecure },
    ),
  )

if (callback.searchParams.has('error')) {
  try {
    oauth.validateAuthResponse(server, client, callback, state)
  } catch ({ error }) {
    tell({ denied: error })
  }
}

// RFC 9207: the library would not go on with the answer of another issuer, or of none.
seen.strangers = []
for (const stranger of ['https://other.example', undefined]) {
  const changed = new URL(callback)
  changed.searchParams.delete('iss')
  if (stranger) changed.searchParams.set('iss', stranger)
  try {
    oauth.validateAuthResponse(server, client, changed, state)
  } catch ({ code }) {
    seen.strangers.push(code)
  }
}

const answer = oauth.validateAuthResponse(server, client, callback, state)
const first = await oauth.processAuthorizationCodeResponse(server, client, await exchange(answer))
seen.tokenType = first.token_type
seen.called = (await call(first.access_token)).status

// RFC 7662: a client that proves who it is may ask about its own tokens.
const introspect = async (token) =>
  oauth.processIntrospectionResponse(
    server, client,
    await oauth.introspectionRequest(server, client, authenticate, token, insecure),
  )
const look = async (token) => introspect(token).catch(({ status }) => ({ status }))
seen.introspected = await look(first.access_token)

// OpenID Connect Core §5.3: there is no ID token, but introspection names the same person.
if (scope) {
  seen.idToken = first.id_token !== undefined
  seen.userInfo = await oauth.processUserInfoResponse(
    servers.oidc, client, seen.introspected.sub,
    await oauth.userInfoRequest(servers.oidc, client, first.access_token, insecure),
  )
}

const second = await refresh(first.refresh_token)
seen.rotated = second.refresh_token !== first.refresh_token
seen.calledAgain = (await call(second.access_token)).status

// RFC 7009: with the refresh token everything ends.
await oauth.processRevocationResponse(
  await oauth.revocationRequest(server, client, authenticate, second.refresh_token, insecure),
)
const refused = await failure(refresh(second.refresh_token))
seen.refreshRevoked = { status: refused.status, error: refused.error }
seen.introspectedRevoked = await look(second.access_token)
seen.callRevoked = (await failure(call(second.access_token))).status

// RFC 6749 §5.2: an error of the token endpoint, as the library reads it.
const replayed = await failure(
  (async () => oauth.processAuthorizationCodeResponse(server, client, await exchange(answer)))(),
)
seen.replayed = { status: replayed.status, error: replayed.error }
tell(seen)
