// How a script talks with its test: one JSON value a line, in both directions.

import { createInterface } from 'node:readline'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

export const read = async () => JSON.parse((await lines.next()).value)

// Ask the test to do something, and wait for what it answers.
export const ask = async (question, value = null) => {
  console.log(JSON.stringify({ [question]: value }))
  return read()
}

// Tell the test what was seen; the end.
export const tell = (seen) => {
  console.log(JSON.stringify({ seen }))
  process.exit()
}

// The error of a promise that must fail.
export const failure = async (promise) => {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('this should have failed')
}

const IMPORT = {
  RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  EdDSA: { name: 'Ed25519' },
  Ed25519: { name: 'Ed25519' },
}

// A private key as the libraries take it, from its JWK.
export const signingKey = async ({ kid, alg, ...jwk }) => ({
  kid,
  key: await crypto.subtle.importKey('jwk', jwk, IMPORT[alg], false, ['sign']),
})
