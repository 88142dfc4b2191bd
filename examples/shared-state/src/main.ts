import { ListeningService, Server, serveHttp } from '@cirque/core'
import { Board } from './board.ts'
import { parseOptions, USAGE } from './options.ts'

// Every thread runs this file from the first line on, and builds the same services.
try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(USAGE)
  else {
    const server = new Server({ argv: options.server })
    const board = new Board(server.shared)
    const { threads } = options
    const visits = new ListeningService(
      'board',
      serveHttp((session) => board.visit(session)),
      { threads },
    )
    const admin = new ListeningService(
      'admin',
      serveHttp((session) => board.report(session)),
      { threads: 1 },
    )
    visits.addListener({ address: options.bindAddress })
    admin.addListener({ address: options.adminAddress })
    server.addServices([visits, admin])
    await server.runForever()
  }
} catch (error) {
  process.stderr.write(`shared-state: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
  process.exitCode = 1
}
