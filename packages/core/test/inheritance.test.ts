import { EventEmitter, once } from 'node:events'
import { createConnection, Server } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { silentLogger } from '../src/index.ts'
import { collectHandOver, importStates, UPGRADE_STATE_CHARACTERS_MAX } from '../src/server/server-upgrade.ts'
import type { Service } from '../src/server/service.ts'
import { Inheritance, type UpgradeChannel } from '../src/upgrade/inheritance.ts'

/** The helper's end of the channel, in this process. */
class FakeChannel extends EventEmitter {
  connected = true
  readonly sent: { t: string }[] = []

  send(message: { t: string }): boolean {
    this.sent.push(message)
    return true
  }

  disconnect(): void {
    if (!this.connected) return
    this.connected = false
    this.emit('disconnect')
  }

  get said(): string[] {
    return this.sent.map((message) => message.t)
  }
}

function inherit(parkedMax: number = 2): {
  channel: FakeChannel
  inheritance: Inheritance
  states: unknown[]
} {
  const channel = new FakeChannel()
  const states: unknown[] = []
  const inheritance = new Inheritance({
    channel: channel as unknown as UpgradeChannel,
    logger: silentLogger,
    timeoutMs: 5000,
    onState: (state) => states.push(state),
    parkedMax,
  })
  return { channel, inheritance, states }
}

async function listeningServer(): Promise<Server> {
  const server = new Server().listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

test('asks for listeners only when each service is up or waits for one', async () => {
  const { channel, inheritance } = inherit()
  const web = inheritance.beginService()
  const memory = inheritance.beginService()
  const taken = web.listeners.take('a')
  await turn()
  expect(channel.said).toEqual([])
  memory.settle()
  memory.settle()
  await turn()
  expect(channel.said).toEqual(['want'])
  channel.emit('message', { t: 'end', n: 0 })
  expect(await taken).toBeUndefined()
  web.settle()
  expect(await inheritance.complete()).toEqual([])
})

test('connections wait for a service that takes the listener late; what nobody takes is closed', async () => {
  const { channel, inheritance, states } = inherit()
  const web = inheritance.beginService()
  void web.listeners.take('not there').catch(() => undefined)
  await turn()
  const [wanted, surplus] = [await listeningServer(), await listeningServer()]
  const { port } = wanted.address() as { port: number }
  channel.emit('message', { t: 'state', state: { generation: 1, services: {} } })
  channel.emit('message', { t: 'fd', i: 0, key: 'a', foreign: false }, wanted)
  channel.emit('message', { t: 'fd', i: 1, key: 'b', foreign: true }, surplus)
  expect(channel.said).toEqual(['want', 'got', 'got'])
  expect(states).toHaveLength(1)
  const client = createConnection({ host: '127.0.0.1', port })
  await once(wanted, 'connection')
  const listener = await web.listeners.take('a')
  expect(listener?.accepted).toHaveLength(1)
  channel.emit('message', { t: 'end', n: 2 })
  const closed = await inheritance.complete()
  expect(closed.map((one) => [one.key, one.isForeign])).toEqual([['b', true]])
  expect(surplus.listening).toBe(false)
  expect(listener?.isOwn()).toBe(false)
  const committed = inheritance.commit('/nowhere')
  expect(channel.said.at(-1)).toBe('ready')
  channel.emit('message', { t: 'commit' })
  expect(await committed).toBe(true)
  expect([listener?.isOwn(), inheritance.isInCharge, channel.connected]).toEqual([true, true, false])
  client.destroy()
  for (const socket of listener?.accepted ?? []) socket.destroy()
  wanted.close()
})

test('so many connections may wait, and one more is cut', async () => {
  const { channel, inheritance } = inherit(2)
  const web = inheritance.beginService()
  web.settle()
  await turn()
  const server = await listeningServer()
  channel.emit('message', { t: 'fd', i: 0, key: 'a', foreign: false }, server)
  const { port } = server.address() as { port: number }
  const clients = [1, 2, 3].map(() => createConnection({ host: '127.0.0.1', port }))
  await Promise.race(clients.map((client) => once(client, 'close')))
  const listener = await web.listeners.take('a')
  expect(listener?.accepted).toHaveLength(2)
  for (const client of clients) client.destroy()
  for (const socket of listener?.accepted ?? []) socket.destroy()
  server.close()
})

test('a channel that is lost fails every service that waits, and closes what none has taken', async () => {
  const { channel, inheritance } = inherit()
  const web = inheritance.beginService()
  const waiting = web.listeners.take('b')
  await turn()
  const server = await listeningServer()
  channel.emit('message', { t: 'fd', i: 0, key: 'a', foreign: false }, server)
  channel.disconnect()
  await expect(waiting).rejects.toThrow('went away')
  await expect(web.listeners.take('a')).rejects.toThrow('went away')
  await expect(inheritance.failed).rejects.toThrow('went away')
  await expect(inheritance.commit('/nowhere')).rejects.toThrow('went away')
  expect(server.listening).toBe(false)
})

test('messages that make no sense end the upgrade, not the process', async () => {
  for (const message of [null, { t: 'fd', i: 0, key: 'a' }]) {
    const { channel, inheritance } = inherit()
    inheritance.beginService().settle()
    await turn()
    channel.emit('message', message, undefined)
    await expect(inheritance.complete()).rejects.toThrow()
    expect(channel.said).toEqual(['want', 'fail'])
  }
})

test('state: what cannot be exported or imported is left out, and so is what is beyond the limit', async () => {
  const imported: unknown[] = []
  const service = (name: string, exportState: () => unknown): Service => ({
    name,
    start() {},
    drain: () => Promise.resolve(),
    destroy() {},
    exportState,
    importState(state) {
      if (name === 'touchy') throw new Error('not this one')
      imported.push([name, state])
    },
  })
  const room = UPGRADE_STATE_CHARACTERS_MAX - '{"a":1}'.length - 2 - '5'.length
  const services = [
    service('small', () => ({ a: 1 })),
    service('nothing', () => undefined),
    service('broken', () => {
      throw new Error('no')
    }),
    service('touchy', () => 5),
    service('exact', () => 'x'.repeat(room)),
    service('beyond', () => 7),
  ]
  const { state, listeners } = await collectHandOver(services, 3, silentLogger)
  expect(listeners).toEqual([])
  expect([state.generation, Object.keys(state.services)]).toEqual([3, ['small', 'touchy', 'exact']])
  importStates(services, state, silentLogger)
  expect(imported).toEqual([
    ['small', { a: 1 }],
    ['exact', 'x'.repeat(room)],
  ])
})
