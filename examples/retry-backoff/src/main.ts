import { Server } from '@cirque/core'
import { httpProxyService } from '@cirque/proxy'
import { parseOptions, USAGE } from './options.ts'
import { Retrier } from './retrier.ts'

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(USAGE)
  else {
    const server = new Server({ argv: options.server })
    const retrier = new Retrier(options, (line) => process.stdout.write(`${line}\n`))
    const proxy = httpProxyService(server.configuration, retrier, {
      name: 'retrier',
      maxRetries: options.tries,
      retryBackoffMs: options.backoffMs,
      retryBackoffMaxMs: 10 * options.backoffMs,
      retryStatuses: [502, 503, 504],
    })
    proxy.addListener({ address: options.bindAddress })
    server.addService(proxy)
    await server.runForever()
  }
} catch (error) {
  process.stderr.write(`retry-backoff: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
  process.exitCode = 1
}
