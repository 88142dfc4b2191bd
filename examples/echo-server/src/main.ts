import { ListeningService, Server, serveHttp } from '@cirque/core'
import { echoRequest } from './http-echo.ts'
import { parseOptions, USAGE } from './options.ts'
import { TcpEcho } from './tcp-echo.ts'

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(USAGE)
  else {
    const server = new Server({ argv: options.server })
    const http = new ListeningService('HTTP echo', serveHttp(echoRequest))
    for (const address of options.httpAddresses) http.addListener({ address })
    const tcp = new ListeningService('TCP echo', new TcpEcho())
    tcp.addListener({ address: options.tcpAddress })
    server.addServices([http, tcp])
    await server.runForever()
  }
} catch (error) {
  process.stderr.write(`echo-server: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
  process.exitCode = 1
}
