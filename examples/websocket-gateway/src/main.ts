import { Server } from '@cirque/core'
import { httpProxyService } from '@cirque/proxy'
import { WebSocketGateway } from './gateway.ts'
import { parseOptions, USAGE } from './options.ts'

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(USAGE)
  else {
    const server = new Server({ argv: options.server })
    const gateway = new WebSocketGateway(options)
    const proxy = httpProxyService(server.configuration, gateway, { name: 'gateway' })
    proxy.addListener({ address: options.bindAddress })
    server.addService(proxy)
    await server.runForever()
  }
} catch (error) {
  process.stderr.write(
    `websocket-gateway: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`,
  )
  process.exitCode = 1
}
