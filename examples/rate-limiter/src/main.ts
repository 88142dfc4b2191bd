import { isMainThread, workerData } from 'node:worker_threads'
import { Server } from '@cirque/core'
import { httpProxyService } from '@cirque/proxy'
import { Limiter } from './limiter.ts'
import { type LimiterOptions, parseOptions, USAGE } from './options.ts'
import { serveInThread, Threads } from './threads.ts'

async function serve(options: LimiterOptions): Promise<void> {
  const server = new Server({ argv: options.server })
  const memory = Limiter.sharedMemory()
  const proxy = httpProxyService(server.configuration, new Limiter(options, memory), { name: 'limiter' })
  const isShared = options.threads > 1
  proxy.addListener({ address: options.bindAddress, ...(isShared && { tcp: { reusePort: true } }) })
  const serving = server.addService(proxy)
  if (isShared) {
    const threads = new Threads(new URL(import.meta.url), proxy, options, memory)
    server.addService(threads).addDependency(serving)
  }
  await server.runForever()
}

if (!isMainThread) await serveInThread(workerData)
else {
  try {
    const options = parseOptions(process.argv.slice(2))
    if (options === 'help') process.stdout.write(USAGE)
    else await serve(options)
  } catch (error) {
    process.stderr.write(
      `rate-limiter: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`,
    )
    process.exitCode = 1
  }
}
