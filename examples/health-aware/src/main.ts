import { Server } from '@cirque/core'
import { LoadBalancer, roundRobin } from '@cirque/load-balancing'
import { httpProxyService } from '@cirque/proxy'
import { describeEvent, statusCheck } from './health.ts'
import { parseOptions, USAGE } from './options.ts'
import { Spreader } from './spreader.ts'

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(USAGE)
  else {
    const server = new Server({ argv: options.server })
    const upstreams = LoadBalancer.fromAddresses(options.peerAddresses, roundRobin(), { name: 'upstreams' })
    upstreams.setHealthCheck(statusCheck(options.path), { intervalMs: options.intervalMs })
    upstreams.subscribe((event) => {
      process.stdout.write(`${describeEvent(event)}\n${upstreams.summary()}\n`)
    })

    const proxy = httpProxyService(server.configuration, new Spreader(upstreams), { name: 'spreader' })
    proxy.addListener({ address: options.bindAddress })
    const checks = server.addService(upstreams.backgroundService())
    server.addService(proxy).addDependency(checks)
    await server.runForever()
  }
} catch (error) {
  process.stderr.write(`health-aware: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
  process.exitCode = 1
}
