// Uses the generated TypeScript client as a customer's service would. `./dev prove sdk` runs it.
//
//   node smoke.js RUN_JSON

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import * as latchkey from 'latchkey-client'
import { client } from 'latchkey-client/client'

const { base_url: baseUrl, admin } = JSON.parse(await readFile(process.argv[2]!, 'utf8'))
client.setConfig({ baseUrl })
const headers = { 'X-Tenant-ID': admin.tenant }

const wrong = await latchkey.login({ headers, body: { email: admin.email, password: 'not the password' } })
assert.equal(wrong.response.status, 401)
assert.equal(wrong.error?.code, 'invalid_credentials')

const signedIn = await latchkey.login({ headers, body: { email: admin.email, password: admin.password } })
assert(signedIn.data && 'access_token' in signedIn.data, JSON.stringify(signedIn.error))
const { access_token: token } = signedIn.data
client.setConfig({ baseUrl, auth: token })
const me = await latchkey.getMe({ throwOnError: true })
assert.equal(me.data.user.email, admin.email)

const name = `TypeScript ${randomUUID()}`
const wanted = { name, description: 'Of a test', permissions: ['users:read'] }
const role = await latchkey.createRole({ body: wanted, throwOnError: true })
const again = await latchkey.createRole({ body: wanted })
assert.equal(again.error?.code, 'name_taken')
const cleared = await latchkey.updateRole({
  path: { id: role.data.id },
  headers: { 'If-Match': role.response.headers.get('ETag')! },
  body: { description: null },
  throwOnError: true,
})
assert.equal(cleared.data.description, null)

const found = new Set<string>()
for (let cursor: string | undefined; ; ) {
  const { data: page } = await latchkey.listRoles({ query: { limit: 2, cursor }, throwOnError: true })
  page.data.forEach((role) => found.add(role.name))
  cursor = page.next_cursor ?? undefined
  if (!page.has_more) break
}
assert([name, 'owner', 'member'].every((name) => found.has(name)), [...found].join())

const { data: created } = await latchkey.createApiKey({
  body: { name, environment: 'test', scopes: ['users:read'] },
  throwOnError: true,
})
const auth = () => created.key
assert.equal((await latchkey.getOwnApiKey({ auth, throwOnError: true })).data.id, created.api_key.id)
await latchkey.revokeApiKey({ path: { id: created.api_key.id }, throwOnError: true })
assert.equal((await latchkey.getOwnApiKey({ auth })).response.status, 401)

const event = {
  headers: { 'Idempotency-Key': randomUUID() },
  body: { type: 'invoice.paid', payload: { invoice: name } },
  throwOnError: true as const,
}
const first = await latchkey.publishEvent(event)
const second = await latchkey.publishEvent(event)
assert.equal(first.data.event_id, second.data.event_id)

const { data: introspection } = await latchkey.introspectToken({ body: { token }, throwOnError: true })
assert.equal(introspection.active, true)

const audit = await latchkey.exportAuditEvents({ throwOnError: true })
const lines = (await audit.data.text()).trimEnd().split('\n')
assert(lines.map((line) => JSON.parse(line).action).includes('api_key.revoke'))
const person = JSON.stringify({ email: `${randomUUID()}@example.com`, name: 'Ada' })
// Lines of JSON are no JSON: they are sent as they are.
const report = await latchkey.importUsers({ body: new Blob([person]), bodySerializer: null, throwOnError: true })
const told = await report.data.text()
assert.equal(JSON.parse(told.trimEnd().split('\n').at(-1)!).created, 1, told)

await latchkey.deleteRole({
  path: { id: role.data.id },
  headers: { 'If-Match': cleared.response.headers.get('ETag')! },
  throwOnError: true,
})
console.log('The TypeScript client signed in, called and was answered as the document says.')
