// One authorization by openid-client, which finds, checks and remembers everything by itself.

import * as client from 'openid-client'
import { ask, failure, read, signingKey, tell } from './dialogue.mjs'

const { issuer, resource, clientId, secret, key, method, redirectUri, scope } = await read()
const authentication = {
  none: () => client.None(),
  client_secret_basic: () => client.ClientSecretBasic(secret),
  client_secret_post: () => client.ClientSecretPost(secret),
  private_key_jwt: async () =>
    client.PrivateKeyJwt(await signingKey(key), {
      [client.modifyAssertion]: (header) => void (header.alg = key.alg),
    }),
}

const seen = { discovered: [] }
let config
for (const algorithm of ['oidc', 'oauth2']) {
  config = await client.discovery(
    new URL(issuer), clientId, undefined, await authentication[method](),
    { algorithm, execute: [client.allowInsecureRequests] },
  )
  seen.discovered.push(config.serverMetadata().issuer)
}
seen.pkce = config.serverMetadata().supportsPKCE()

const state = client.randomState()
const verifier = client.randomPKCECodeVerifier()
const callback = await ask(
  'authorize',
  client.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    resource,
    ...(scope && { scope }),
  }),
)
const exchange = (url) =>
  client.authorizationCodeGrant(
    config, new URL(url), { pkceCodeVerifier: verifier, expectedState: state }, { resource },
  )
if (new URL(callback).searchParams.has('error')) {
  const { error, error_description: description } = await failure(exchange(callback))
  tell({ denied: error, description })
}
const mixedUp = new URL(callback)
mixedUp.searchParams.set('iss', 'https://other.example')
seen.mixedUp = (await failure(exchange(mixedUp))).code

const first = await exchange(callback)
// It counts down from 900.
seen.expiresIn = [900, 899, 898].includes(first.expiresIn())
seen.scope = first.scope
const ping = async (token) => {
  const response = await client.fetchProtectedResource(
    config, token, new URL(resource), 'POST',
    JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' }),
    new Headers({
      'Content-Type': 'application/json',
      'MCP-Protocol-Version': '2025-11-25',
      Accept: 'application/json, text/event-stream',
    }),
  )
  return response.status
}
seen.called = await ping(first.access_token)

// RFC 7662: a client that proves who it is may ask about its own tokens.
const look = (token) =>
  client.tokenIntrospection(config, token).catch(({ status }) => ({ status }))
seen.introspected = await look(first.refresh_token)

// OpenID Connect Core §5.3: there is no ID token, but introspection names the same person.
if (scope) {
  seen.idToken = first.claims() !== undefined
  seen.userInfo = await client.fetchUserInfo(config, first.access_token, seen.introspected.sub)
}

const second = await client.refreshTokenGrant(config, first.refresh_token, { resource })
seen.rotated = second.refresh_token !== first.refresh_token
seen.calledAgain = await ping(second.access_token)

// RFC 7009: an access token ends alone, a refresh token with all that hangs on it.
await client.tokenRevocation(config, second.access_token)
seen.introspectedRevoked = await look(second.access_token)
seen.callRevoked = (await failure(ping(second.access_token))).status
const third = await client.refreshTokenGrant(config, second.refresh_token)
await client.tokenRevocation(config, third.refresh_token, { token_type_hint: 'refresh_token' })
const { status, error } = await failure(client.refreshTokenGrant(config, third.refresh_token))
seen.refreshRevoked = { status, error }
tell(seen)
