import type { HttpSession } from '@cirque/core'

/** Answers with the request as JSON: who served it, and what arrived. `/health` just says that all is well. */
export async function echoRequest(session: HttpSession): Promise<void> {
  const { request } = session
  if (request.path === '/health') return respondJson(session, { status: 'ok' })
  const body = await session.readRequestBody() // 1 MiB at most, more is answered with 413
  const { localAddress, localPort } = session.digest()
  respondJson(session, {
    server: localAddress === undefined ? 'unix' : `${localAddress}:${localPort}`,
    method: request.method,
    target: request.target,
    headers: Object.fromEntries(request),
    body: body.toString(),
  })
}

function respondJson(session: HttpSession, value: object): void {
  session.respond(200, {
    headers: { 'Content-Type': 'application/json' },
    body: `${JSON.stringify(value, null, 2)}\n`,
  })
}
