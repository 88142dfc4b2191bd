import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type HttpSession, ListeningService, serveHttp } from '@cirque/core'

const certFile = fileURLToPath(new URL('../data/upstream.pem', import.meta.url))
const keyFile = fileURLToPath(new URL('../data/upstream.key', import.meta.url))

/** What the demo upstreams are called. */
export const DEMO_HOST = 'hello.example'

/** The certificate that the demo upstreams show; nobody else signed it. */
export function demoAuthority(): string {
  return readFileSync(certFile, 'utf8')
}

/** Two HTTPS servers that serve `hello.example`, and nobody who asks for another name. */
export function demoUpstreams(): readonly ListeningService[] {
  return [1, 2].map((number) => {
    const app = serveHttp((session: HttpSession) => {
      const host = session.request.get('host')
      if (host === DEMO_HOST) session.respond(200, { body: `hello from upstream ${number}\n` })
      else session.respond(403, { body: `upstream ${number} does not know ${host}\n` })
    })
    const service = new ListeningService(`upstream ${number}`, app)
    service.addTls('127.0.0.1:0', { certFile, keyFile })
    return service
  })
}
