import { type ListenerSocketOptions, Server } from '@cirque/core'
import { httpProxyService } from '@cirque/proxy'
import { Gatekeeper } from './gatekeeper.ts'
import { parseOptions, USAGE } from './options.ts'

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(USAGE)
  else {
    const server = new Server({ argv: options.server })
    const proxy = httpProxyService(server.configuration, new Gatekeeper(options), { name: 'gatekeeper' })
    const kind = options.bindAddress.startsWith('unix:') ? 'unix' : 'tcp'
    const listener: ListenerSocketOptions = options.proxyProtocol ? { proxyProtocol: { trusted: 'any' } } : {}
    const tls = options.certificate === undefined ? {} : { tls: options.certificate }
    proxy.addListener({ address: options.bindAddress, [kind]: listener, ...tls })
    server.addService(proxy)
    await server.runForever()
  }
} catch (error) {
  process.stderr.write(`gatekeeper: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
  process.exitCode = 1
}
