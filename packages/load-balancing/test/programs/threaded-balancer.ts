// A balancer in three threads. The service "control" is served by the main one, "view" by the workers.
import { ListeningService, Server, serveHttp } from '@cirque/core'
import { Backend, type HealthCheck, LoadBalancer, roundRobin } from '@cirque/load-balancing'

const server = new Server({ argv: false, configuration: { threads: 2 } })
let found = ['10.0.0.1:80', '10.0.0.2:80']
let down = ''
const events: string[] = []
let discoveries = 0
const upstreams = new LoadBalancer(() => {
  discoveries += 1
  return found.map((address) => new Backend(address, { weight: 2, metadata: { zone: 'a' } }))
}, roundRobin())
const check: HealthCheck = {
  consecutiveSuccess: 1,
  consecutiveFailure: 1,
  async check(backend) {
    if (backend.address === down) throw new Error('it is down')
  },
}
upstreams.setHealthCheck(check, { intervalMs: 3_600_000 })
upstreams.subscribe(({ type }) => void events.push(type))

const state = () =>
  JSON.stringify({
    thread: server.thread,
    backends: upstreams.backends.map(({ address, weight, metadata }) => [address, weight, metadata]),
    eligible: upstreams.backends.map(({ address }) => address).filter((one) => upstreams.isEligible(one)),
    events,
    discoveries,
  })
const view = new ListeningService(
  'view',
  serveHttp((session) => session.respond(200, { body: state() })),
)
const control = new ListeningService(
  'control',
  serveHttp(async (session) => {
    const query = new URLSearchParams(session.request.query)
    found = query.get('found')?.split(' ') ?? found
    down = query.get('down') ?? ''
    await upstreams.update()
    await upstreams.runHealthCheck()
    upstreams.setEnabled('10.0.0.2:80', query.get('disable') === null)
    session.respond(200, { body: state() })
  }),
  { threads: 1 },
)
const serving = server.addService(view.addTcp('127.0.0.1:0'))
serving.addDependency(server.addService(upstreams.backgroundService()))
server.addService(control.addTcp('127.0.0.1:0'))
server.onPhase((phase) => {
  if (phase !== 'running' || server.thread > 0) return
  const ports = [...view.endpoints(), ...control.endpoints()].map(({ text }) => text.split(':').at(-1))
  process.stdout.write(`ports ${ports.join(' ')}\n`)
})
await server.runForever()
