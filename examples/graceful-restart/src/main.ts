import { setTimeout as delay } from 'node:timers/promises'
import { ListeningService, Server, serveHttp } from '@cirque/core'
import { parseOptions, USAGE } from './options.ts'
import { Visits } from './visits.ts'

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(USAGE)
  else {
    const server = new Server({ argv: options.server })
    const visits = new Visits()
    const app = serveHttp(async (session) => {
      visits.count += 1
      const visit = visits.count
      // Begun here, ended here: also when the next generation takes over meanwhile.
      if (session.request.path === '/slow') await delay(2000)
      session.respond(200, {
        headers: { 'Content-Type': 'text/plain' },
        body: `visit ${visit}, generation ${server.generation}, process ${process.pid}\n`,
      })
    })
    const web = new ListeningService('web', app)
    web.addTcp(options.bindAddress)
    server.addService(visits)
    server.addService(web)
    server.onPhase((phase) => server.logger.info('Phase', { phase, generation: server.generation }))
    await server.runForever()
  }
} catch (error) {
  process.stderr.write(
    `graceful-restart: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`,
  )
  process.exitCode = 1
}
