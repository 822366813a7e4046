// A host application on the official TypeScript SDK, version 1 or 2: it connects, renews, sits
// out an outage and asks again after a revocation. The SDK decides; this only keeps what it is told
// to keep.

import { ask, failure, read, tell } from './dialogue.mjs'

const sdk = '@modelcontextprotocol/sdk/client'
const modules = {
  v1: [`${sdk}/index.js`, `${sdk}/streamableHttp.js`, `${sdk}/auth.js`],
  v2: ['@modelcontextprotocol/client'],
}
const { version, mode, resource, redirectUri, client, metadata, lifetime } = await read()
const loaded = await Promise.all(modules[version].map((name) => import(name)))
const { Client, StreamableHTTPClientTransport, UnauthorizedError, auth } = Object.assign(
  {}, ...loaded,
)

const requests = []
const recorded = async (url, init) => {
  const response = await fetch(url, init)
  requests.push(`${init?.method ?? 'GET'} ${new URL(url).pathname} ${response.status}`)
  return response
}

// What the SDK keeps by this provider; nothing of it is known to the provider itself.
class Provider {
  client = client
  invalidated = []
  asked = []
  redirectUrl = redirectUri
  clientMetadata = { client_name: 'A host', redirect_uris: [redirectUri], ...metadata }
  state = () => 'a-state'
  clientInformation = () => this.client
  saveClientInformation = (information) => void (this.client = information)
  tokens = () => this.kept
  saveTokens = (tokens) => void (this.kept = tokens)
  saveCodeVerifier = (verifier) => void (this.verifier = verifier)
  codeVerifier = () => this.verifier
  redirectToAuthorization = (url) => void this.asked.push(url)
  invalidateCredentials = (what) => {
    this.invalidated.push(what)
    if (what === 'tokens' || what === 'all') this.kept = undefined
    if (what === 'client' || what === 'all') this.client = undefined
  }
}

const provider = new Provider()
const transport = () =>
  new StreamableHTTPClientTransport(new URL(resource), { authProvider: provider, fetch: recorded })
const host = () =>
  new Client(
    { name: 'host', version: '1' },
    version === 'v2' ? { versionNegotiation: { mode } } : {},
  )

// Connect; where that needs the person, go through the browser and connect again.
const connect = async () => {
  const first = transport()
  const connected = host()
  try {
    await connected.connect(first)
    return connected
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error
  }
  const answer = new URL(await ask('authorize', provider.asked.at(-1))).searchParams
  await first.finishAuth(version === 'v2' ? answer : answer.get('code'))
  const again = host()
  await again.connect(transport())
  return again
}
const add = async (connected) => {
  const result = await connected.callTool({
    name: 'calculator',
    arguments: { expression: '6 * 7' },
  })
  return result.structuredContent.value
}
const expire = () => new Promise((resolve) => setTimeout(resolve, lifetime))

const seen = { calls: [] }
let connected = await connect()
seen.discovery = requests.slice(0, 3)
seen.registered = requests.filter((request) => request.includes('/register'))
seen.secret = Boolean(provider.client.client_secret)
seen.calls.push(await add(connected))

// The access token ends: the SDK renews it and nobody is asked.
let before = provider.kept
await expire()
seen.calls.push(await add(connected))
seen.rotated = provider.kept.refresh_token !== before.refresh_token

// The server's database is away: everything fails, and nothing is thrown away.
await ask('outage')
await expire()
before = provider.kept
requests.length = 0
await failure(add(connected))
await failure(auth(provider, { serverUrl: resource, fetchFn: recorded }))
seen.outage = requests.filter((request) => !request.includes('.well-known'))
seen.keptTokens = provider.kept === before
await ask('recovery')
seen.calls.push(await add(connected))
seen.asked = provider.asked.length
seen.invalidated = [...provider.invalidated]

// The grant is revoked: the SDK forgets the tokens and asks again.
const { client_id, client_secret } = provider.client
await fetch(new URL('/revoke', resource), {
  method: 'POST',
  headers: client_secret && { Authorization: `Basic ${btoa(`${client_id}:${client_secret}`)}` },
  body: new URLSearchParams({ token: provider.kept.refresh_token, client_id }),
})
seen.revoked = (await failure(add(connected))) instanceof UnauthorizedError
seen.invalidatedThen = provider.invalidated
connected = await connect()
seen.calls.push(await add(connected))
tell(seen)
