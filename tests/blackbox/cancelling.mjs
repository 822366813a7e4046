// A host application on the official TypeScript SDK, version 1 or 2, that cancels a call as soon as
// it hears of its progress, and goes on with another one.

import { failure, read, tell } from './dialogue.mjs'

const sdk = '@modelcontextprotocol/sdk'
const modules = {
  v1: [`${sdk}/client/index.js`, `${sdk}/client/streamableHttp.js`],
  v2: ['@modelcontextprotocol/client'],
}
const { version, mode, resource, token } = await read()
const loaded = await Promise.all(modules[version].map((name) => import(name)))
const { Client, StreamableHTTPClientTransport } = Object.assign({}, ...loaded)

const posted = []
const recorded = async (url, init) => {
  const response = await fetch(url, init)
  if (init?.body) posted.push(`${JSON.parse(init.body).method} ${response.status}`)
  return response
}
const headers = { Authorization: `Bearer ${token}` }
const client = new Client(
  { name: 'host', version: '1' },
  version === 'v2' ? { versionNegotiation: { mode } } : {},
)
await client.connect(
  new StreamableHTTPClientTransport(new URL(resource), {
    fetch: recorded,
    requestInit: { headers },
  }),
)
const call = (name, options) =>
  version === 'v2'
    ? client.callTool({ name, arguments: {} }, options)
    : client.callTool({ name, arguments: {} }, undefined, options)

const progress = []
const controller = new AbortController()
const onprogress = (update) => {
  progress.push(update.progress)
  controller.abort(new Error('enough'))
}
const error = await failure(call('build', { onprogress, signal: controller.signal }))
const { content } = await call('quick')
tell({
  progress,
  error: error.message.includes('enough'),
  told: posted.filter((request) => request.includes('cancelled')),
  then: content[0].text,
})
