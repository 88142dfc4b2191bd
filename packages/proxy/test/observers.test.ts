import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { HttpPeer } from '@cirque/core'
import { describe, expect, test } from 'vitest'
import type { AttemptMessage, ProxyHttp, ProxyObserver, RequestMessage, Session } from '../src/index.ts'
import { ask, get, RawClient } from './support/client.ts'
import { startProxy } from './support/proxy.ts'
import { deadAddress, startRawUpstream, startScript } from './support/upstream.ts'

const HELLO = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'

/** Writes down what it is told, and after each request whether the session's facts were complete. */
function recorder(calls: string[]): ProxyObserver {
  return {
    onRequestStart: (session) => void calls.push(`start ${session.request.path}`),
    onAttemptStart: (session, attempt) => {
      expect(attempt.peer).toBeUndefined()
      calls.push(`attempt ${session.record.attempts.length}`)
    },
    onUpstreamRequest: (_session, _attempt, request) => void request.insertHeader('X-Trace', 'given'),
    onAttemptEnd: (_session, attempt) =>
      void calls.push(`attempt over: ${attempt.error?.code ?? attempt.status}`),
    onRequestEnd: (session, error) =>
      void calls.push(`end ${session.downstream.responseStatus} ${error?.code ?? 'well'}`),
  }
}

function to(address: string, more: Partial<ProxyHttp> = {}): ProxyHttp {
  return { upstreamPeer: () => new HttpPeer(address), ...more }
}

describe('observers', () => {
  test('see a request, its attempt and its end, in this order and once each', async () => {
    const calls: string[] = []
    let sent = ''
    await using upstream = await startRawUpstream((socket) => {
      socket.on('data', (data) => {
        sent += data.toString('latin1')
        socket.write(HELLO)
      })
    })
    const app = to(upstream.address, {
      logging: () => void calls.push('logging'),
      upstreamRequestFilter: (_session, request) => void calls.push(`filter sees ${request.get('x-trace')}`),
    })
    await using proxy = await startProxy(app, { observers: [recorder(calls)] })
    await using client = new RawClient(proxy.port)
    expect((await client.write(get('/a')).response()).body).toBe('hello')
    await proxy.idle()
    expect(calls).toEqual([
      'start /a',
      'attempt 1',
      'filter sees given',
      'attempt over: 200',
      'logging',
      'end 200 well',
    ])
    expect(sent).toContain('\r\nX-Trace: given\r\n')
  })

  test('see each attempt, with its own times and error', async () => {
    await using upstream = await startScript(HELLO)
    const dead = await deadAddress()
    const calls: string[] = []
    let session: Session | undefined
    let turn = 0
    const app: ProxyHttp = {
      upstreamPeer: () => new HttpPeer(turn++ === 0 ? dead : upstream.address),
      failToConnect: (_session, _peer, error) => {
        error.retry = 'allowed'
      },
    }
    const last: ProxyObserver = {
      onRequestEnd: (given) => {
        session = given
      },
    }
    await using proxy = await startProxy(app, { observers: [recorder(calls), last] })
    expect((await ask(proxy.port, get())).status).toBe(200)
    await proxy.idle()
    expect(calls).toEqual([
      'start /',
      'attempt 1',
      'attempt over: CONNECT_REFUSED',
      'attempt 2',
      'attempt over: 200',
      'end 200 well',
    ])
    const [first, second] = session?.record.attempts ?? []
    expect(first?.endedAt).toBeGreaterThanOrEqual(first?.startedAt ?? Number.POSITIVE_INFINITY)
    expect(second?.startedAt).toBeGreaterThanOrEqual(first?.endedAt ?? Number.POSITIVE_INFINITY)
    expect(second?.endedAt).toBe(session?.record.endedAt)
    expect(second?.endedAt).toBeGreaterThan(0)
  })

  test('see requests that never reach a hook or an upstream', async () => {
    const calls: string[] = []
    const app: ProxyHttp<string> = {
      newCtx: () => {
        throw new Error('no context')
      },
      upstreamPeer: () => {
        throw new Error('never asked')
      },
      logging: () => void calls.push('logging'),
    }
    await using proxy = await startProxy(app, { observers: [recorder(calls)] })
    expect((await ask(proxy.port, get('/x'))).status).toBe(500)
    await proxy.idle()
    expect(calls).toEqual(['start /x', 'end 500 FILTER_FAILED'])
  })

  test('see a client that leaves in the middle of an attempt', async () => {
    const calls: string[] = []
    const { promise: reached, resolve } = Promise.withResolvers<void>()
    await using upstream = await startRawUpstream((socket) => void socket.on('data', () => resolve()))
    await using proxy = await startProxy(to(upstream.address), { observers: [recorder(calls)] })
    const client = new RawClient(proxy.port)
    client.write(get())
    await reached
    await client[Symbol.asyncDispose]()
    await proxy.idle()
    expect(calls).toEqual([
      'start /',
      'attempt 1',
      'attempt over: CONNECTION_CLOSED',
      'end 0 CONNECTION_CLOSED',
    ])
  })

  test('that throw or reject are logged, and neither the request nor the next observer notices', async () => {
    const calls: string[] = []
    const broken: ProxyObserver = {
      onRequestStart: () => {
        throw new Error('at the start')
      },
      onAttemptStart: () => {
        throw new Error('at an attempt')
      },
      onUpstreamRequest: () => {
        throw new Error('at the request')
      },
      onAttemptEnd: () => {
        throw new Error('after an attempt')
      },
      onRequestEnd: async () => {
        throw new Error('at the end')
      },
    }
    await using upstream = await startScript(HELLO)
    await using proxy = await startProxy(to(upstream.address), { observers: [broken, recorder(calls)] })
    expect((await ask(proxy.port, get())).body).toBe('hello')
    await proxy.idle()
    await new Promise((resolve) => setImmediate(resolve))
    expect(calls).toHaveLength(4)
    expect(proxy.errors()).toEqual([
      'Error: at the start',
      'Error: at an attempt',
      'Error: at the request',
      'Error: after an attempt',
      'Error: at the end',
    ])
  })

  test('get times, and none where recordTimes is false', async () => {
    await using upstream = await startScript(HELLO)
    for (const recordTimes of [undefined, false]) {
      let session: Session | undefined
      const observer: ProxyObserver = {
        onRequestEnd: (given) => {
          session = given
        },
      }
      const options = { observers: [observer], ...(recordTimes === undefined ? {} : { recordTimes }) }
      await using proxy = await startProxy(to(upstream.address), options)
      await ask(proxy.port, get())
      await proxy.idle()
      const { startedAt, endedAt } = session?.record ?? {}
      if (recordTimes === false) expect([startedAt, endedAt]).toEqual([0, 0])
      else expect(endedAt).toBeGreaterThanOrEqual(startedAt ?? Number.POSITIVE_INFINITY)
    }
  })

  test.each([
    ['null', [null]],
    ['text', ['combined']],
    ['without a method', [{ onRequestFinished: () => undefined }]],
    ['with a field in place of a method', [{ onRequestEnd: 1 }]],
    ['outside of an array', { onRequestEnd: () => undefined }],
  ])('%s are refused at construction', async (_name, observers) => {
    await expect(startProxy(to('127.0.0.1:1'), { observers: observers as never })).rejects.toThrow(TypeError)
  })
})

test('diagnostics channels tell of requests and attempts while somebody listens', async () => {
  const heard: string[] = []
  const onRequest = (message: unknown, name: string | symbol) => {
    const { session, error } = message as RequestMessage
    heard.push(`${String(name)} ${session.request.path} ${error?.code ?? 'well'}`)
  }
  const onAttempt = (message: unknown, name: string | symbol) => {
    const { session, attempt } = message as AttemptMessage
    expect(session.attempt).toBe(attempt)
    expect(attempt.startedAt).toBeGreaterThan(0)
    heard.push(`${String(name)} ${attempt.status}`)
  }
  await using upstream = await startScript(HELLO)
  await using proxy = await startProxy(to(upstream.address))
  const names = ['cirque:request:start', 'cirque:request:end', 'cirque:attempt:start', 'cirque:attempt:end']
  const [start = '', end = '', attemptStart = '', attemptEnd = ''] = names
  await ask(proxy.port, get('/before'))
  for (const name of [start, end]) subscribe(name, onRequest)
  for (const name of [attemptStart, attemptEnd]) subscribe(name, onAttempt)
  await ask(proxy.port, get('/while'))
  await proxy.idle()
  for (const name of [start, end]) unsubscribe(name, onRequest)
  for (const name of [attemptStart, attemptEnd]) unsubscribe(name, onAttempt)
  await ask(proxy.port, get('/after'))
  expect(heard).toEqual([
    `${start} /while well`,
    `${attemptStart} 0`,
    `${attemptEnd} 200`,
    `${end} /while well`,
  ])
})
