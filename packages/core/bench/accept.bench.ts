// What a listening service adds to a new connection, beside a bare net.Server with the same socket options.
// Each round opens connections in batches, the server closes each at once; rounds alternate between the two.
import { once } from 'node:events'
import { createConnection, createServer, type Socket } from 'node:net'
import { cpus } from 'node:os'
import { createConfiguration, ListeningService, silentLogger, type TcpAddress } from '../src/index.ts'

const ROUNDS = 7
const CONNECTIONS = 2000
const BATCH = 50

/** CPU time of the whole process, client included, in microseconds per connection. */
async function measure(port: number): Promise<number> {
  const before = process.cpuUsage()
  for (let count = 0; count < CONNECTIONS; count += BATCH) {
    const clients = Array.from({ length: BATCH }, () => createConnection({ host: '127.0.0.1', port }))
    await Promise.all(
      clients.map((client) => {
        client.resume()
        return once(client, 'close')
      }),
    )
  }
  const { user, system } = process.cpuUsage(before)
  return (user + system) / CONNECTIONS
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

const end = (socket: Socket) => void socket.end()
const bare = createServer({ allowHalfOpen: true, noDelay: true }, end).listen(0, '127.0.0.1')
await once(bare, 'listening')
const context = {
  configuration: createConfiguration(),
  logger: silentLogger,
  shutdown: new AbortController().signal,
}
const services = {
  service: new ListeningService('plain', { onConnection: end, startDraining() {} }),
  'service, cap per IP': new ListeningService(
    'capped',
    { onConnection: end, startDraining() {} },
    { connectionsPerIpMax: 1000 },
  ),
}
const ports: Record<string, number> = { 'bare net.Server': (bare.address() as { port: number }).port }
for (const [name, service] of Object.entries(services)) {
  await service.addTcp('127.0.0.1:0').start(context)
  ports[name] = (service.endpoints()[0] as TcpAddress).port
}

console.log(`Node.js ${process.version}, ${cpus()[0]?.model}, ${ROUNDS} rounds of ${CONNECTIONS} connections`)
console.log('CPU µs per connection, client and server together: median (least to most)')
const results = new Map<string, number[]>()
for (let round = 0; round <= ROUNDS; round += 1) {
  for (const [name, port] of Object.entries(ports)) {
    const cost = await measure(port)
    if (round > 0) results.set(name, [...(results.get(name) ?? []), cost]) // round 0 warms up
  }
}
const base = median(results.get('bare net.Server') ?? [])
for (const [name, costs] of results) {
  const spread = `${Math.min(...costs).toFixed(1)} to ${Math.max(...costs).toFixed(1)}`
  console.log(
    `${name.padEnd(22)} ${median(costs).toFixed(1)} (${spread}), ×${(median(costs) / base).toFixed(2)}`,
  )
}
bare.close()
for (const service of Object.values(services)) await service.drain()
