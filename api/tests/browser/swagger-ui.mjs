// Uses the published API page as a person would: sign in, authorize, call. `./dev prove browser` runs it.
//
//   PLAYWRIGHT_CORE=<its index.js> CHROMIUM=<browser> node swagger-ui.mjs <run.json> <screenshot.png>

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { pathToFileURL } from 'node:url'

const [runFile, screenshot] = process.argv.slice(2)
assert(runFile && screenshot, 'usage: swagger-ui.mjs <run.json> <screenshot.png>')
const { base_url: baseUrl, admin } = JSON.parse(await readFile(runFile, 'utf8'))
const { chromium } = (await import(pathToFileURL(process.env.PLAYWRIGHT_CORE))).default

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: [
    // Chromium's sandbox refuses root, and the page is our own.
    ...(process.getuid() === 0 ? ['--no-sandbox'] : []),
    '--disable-gpu',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--no-first-run',
  ],
})

// Anything the browser complains about, and anything fetched from elsewhere, is a fault of the page.
const complaints = []

try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 1600 } })
  page.setDefaultTimeout(20_000)
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(`console: ${message.text()} (${message.location().url})`)
  })
  page.on('pageerror', (error) => complaints.push(`exception: ${error.message}`))
  page.on('request', (request) => {
    const { protocol, origin } = new URL(request.url())
    if (protocol.startsWith('http') && origin !== new URL(baseUrl).origin) {
      complaints.push(`fetched from elsewhere: ${request.url()}`)
    }
  })
  // Report-only policies are never printed, so ask for the event itself.
  await page.exposeFunction('reportViolation', (text) => complaints.push(`policy: ${text}`))
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      window.reportViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`)
    })
  })

  try {
    await page.goto(`${baseUrl}/docs`)
    await page.locator('.swagger-ui .info .title').waitFor()

    const signedIn = await execute(page, 'login', {
      parameters: { 'X-Tenant-ID': admin.tenant },
      body: { email: admin.email, password: admin.password },
    })
    assert.equal(signedIn.status, 200, `login answered ${signedIn.status}: ${signedIn.text}`)
    const token = JSON.parse(signedIn.text).access_token
    assert(token, `no access_token in ${signedIn.text}`)

    await authorize(page, token)

    const me = await execute(page, 'getMe', {})
    assert.equal(me.status, 200, `getMe answered ${me.status}: ${me.text}`)
    assert(me.text.includes(admin.email), `${admin.email} is not in ${me.text}`)
  } finally {
    await page.screenshot({ path: screenshot })
    // Printed here, since they are usually why a step above timed out.
    for (const complaint of complaints) console.error(complaint)
  }
  assert.deepEqual(complaints, [])
  console.log(`Swagger UI: signed in, authorized and called; screenshot in ${screenshot}`)
} finally {
  await browser.close()
}

// Opens an operation, fills it in, presses Execute; returns the status and the body that the page shows.
async function execute(page, operationId, { parameters = {}, body }) {
  const operation = await openOperation(page, operationId)
  // The page may be set up to start in this mode; then the button is there too, and cancels.
  await operation.locator('.try-out__btn').first().waitFor()
  const tryOut = operation.locator('.try-out__btn:not(.cancel):not(.reset)')
  if (await tryOut.count()) await tryOut.click()

  for (const [name, value] of Object.entries(parameters)) {
    await operation.locator(`tr[data-param-name="${name}"] input`).fill(value)
  }
  if (body) await operation.locator('textarea.body-param__text').fill(JSON.stringify(body, null, 2))

  await operation.locator('button.execute').click()
  const answer = operation.locator('.live-responses-table tbody tr').first()
  await answer.waitFor()
  return {
    status: Number.parseInt(await answer.locator('.response-col_status').innerText(), 10),
    text: await answer.locator('.response-col_description pre').first().textContent(),
  }
}

// Tags may start folded, and so does the operation itself.
async function openOperation(page, operationId) {
  const operation = page.locator(`.opblock[id^="operations-"][id$="-${operationId}"]`)
  for (const folded of await page.locator('.opblock-tag[data-is-open="false"]').all()) {
    if (await operation.count()) break
    await folded.click()
  }
  await operation.waitFor()
  const open = await operation.evaluate((element) => element.classList.contains('is-open'))
  if (!open) await operation.locator('.opblock-summary-control').click()
  await operation.locator('.opblock-body').waitFor()
  return operation
}

async function authorize(page, token) {
  await page.locator('.auth-wrapper button.authorize').first().click()
  const scheme = page.locator('.dialog-ux .auth-container').filter({ hasText: /http,\s*bearer/i }).first()
  await scheme.locator('input').fill(token)
  await scheme.locator('button.authorize').click()
  await scheme.getByText('Authorized', { exact: true }).first().waitFor()
  await page.locator('.dialog-ux button.btn-done').first().click()
}
