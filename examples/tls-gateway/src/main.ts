import { Server, TicketKeys } from '@cirque/core'
import { httpProxyService } from '@cirque/proxy'
import { certificateFolder } from './certificate-folder.ts'
import { TlsGateway } from './gateway.ts'
import { parseOptions, USAGE } from './options.ts'

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(USAGE)
  else {
    const server = new Server({ argv: options.server })
    const gateway = new TlsGateway(options.peerAddress)
    const proxy = httpProxyService(server.configuration, gateway, { name: 'gateway' })
    const ticketKeys = new TicketKeys()
    for (const address of options.bindAddresses) {
      proxy.addTls(address, { ...certificateFolder(options.certificates), ticketKeys })
    }
    server.addService(proxy)
    await server.runForever()
  }
} catch (error) {
  process.stderr.write(`tls-gateway: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
  process.exitCode = 1
}
