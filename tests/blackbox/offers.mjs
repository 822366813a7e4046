// A host application on the official TypeScript SDK, version 1 or 2, that uses whatever a server
// offers: tools with progress and questions, resources, prompts and completion.

import { failure, read, tell } from './dialogue.mjs'

const sdk = '@modelcontextprotocol/sdk'
const modules = {
  v1: [`${sdk}/client/index.js`, `${sdk}/client/streamableHttp.js`, `${sdk}/types.js`],
  v2: ['@modelcontextprotocol/client'],
}
const { version, mode, resource, token } = await read()
const loaded = await Promise.all(modules[version].map((name) => import(name)))
const { Client, StreamableHTTPClientTransport, ElicitRequestSchema } = Object.assign({}, ...loaded)

const client = new Client(
  { name: 'host', version: '1' },
  {
    capabilities: { elicitation: { form: {} } },
    ...(version === 'v2' && { versionNegotiation: { mode } }),
  },
)
const asked = []
client.setRequestHandler(version === 'v2' ? 'elicitation/create' : ElicitRequestSchema, (request) => {
  asked.push(request.params.message)
  const answers = asked.length === 1 ? { name: 'Kari' } : { color: 'red' }
  return { action: 'accept', content: answers }
})
const headers = { Authorization: `Bearer ${token}` }
await client.connect(
  new StreamableHTTPClientTransport(new URL(resource), { requestInit: { headers } }),
)

const call = (name, options) =>
  version === 'v2'
    ? client.callTool({ name, arguments: {} }, options)
    : client.callTool({ name, arguments: {} }, undefined, options)
const text = (result) => result.content[0].text
const names = (listed) => listed.map(({ name }) => name)
const progress = []

const seen = {
  tools: names((await client.listTools()).tools),
  resources: names((await client.listResources()).resources),
  templates: names((await client.listResourceTemplates()).resourceTemplates),
  prompts: names((await client.listPrompts()).prompts),
  read: (await client.readResource({ uri: 'test://template/7/data' })).contents[0].text,
  missing: (await failure(client.readResource({ uri: 'test://nowhere' }))).code,
  got: (
    await client.getPrompt({
      name: 'test_prompt_with_arguments',
      arguments: { arg1: 'a', arg2: 'b' },
    })
  ).messages[0].content.text,
  completed: (
    await client.complete({
      ref: { type: 'ref/prompt', name: 'test_prompt_with_arguments' },
      argument: { name: 'arg1', value: 'par' },
    })
  ).completion.values,
}
const told = await call('test_tool_with_progress', {
  onprogress: (update) => progress.push(update.progress),
})
seen.progress = [...progress, text(told)]
const rounds = await call('test_input_required_result_multi_round')
seen.rounds = { asked, failed: Boolean(rounds.isError), answer: text(rounds) }
tell(seen)
