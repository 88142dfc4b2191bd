import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect } from 'vitest'
import { ask, get } from '../../support/client.ts'
import type { Usage } from '../programs/proxy.ts'

export const KIB = 1_024
export const MIB: number = 1_024 * KIB
/** For a machine that is busy with something else. */
export const TIMEOUT_MS = 90_000

let fair: ChildProcess
let evil: ChildProcess
let child: ChildProcess

/** A proxy in a process of its own, which a test file attacks. */
export const attacked: {
  port: number
  /** What it uses while nobody attacks. */
  quiet: Usage
  /** How long a fair client waits while nobody attacks. */
  quietWait: number
  /** How it ended, if it did. */
  exited: string | null
} = { port: 0, quiet: { bytes: 0, active: 0, connections: 0, upstreams: 0 }, quietWait: 0, exited: null }

/** Starts a program and gives what it sends first: its port. */
async function start(program: string, ...args: readonly string[]): Promise<[ChildProcess, number]> {
  const started = fork(join(import.meta.dirname, '../programs', program), args, {
    execArgv: ['--conditions=@cirque/source', '--expose-gc'],
  })
  const [given] = (await once(started, 'message')) as [number]
  return [started, given]
}

/** Runs the proxy and its origins, a fair and an evil one, for all tests of a file. */
export function withAttackedProxy(): void {
  beforeAll(async () => {
    const [startedFair, fairPort] = await start('origin.ts')
    const [startedEvil, evilPort] = await start('origin.ts')
    fair = startedFair
    evil = startedEvil
    const addresses = [`127.0.0.1:${fairPort}`, `127.0.0.1:${evilPort}`]
    const [startedProxy, proxyPort] = await start('proxy.ts', ...addresses)
    child = startedProxy
    attacked.port = proxyPort
    child.on('exit', (code, signal) => {
      attacked.exited = `${code ?? signal}`
    })
    for (let i = 0; i < 50; i++) await ask(attacked.port, get('/fair'))
    attacked.quietWait = await fairWait()
    attacked.quiet = await usage()
  })
  afterAll(async () => {
    const programs = [child, fair, evil].filter(({ connected }) => connected)
    const ended = Promise.all(programs.map((program) => once(program, 'exit')))
    for (const program of programs) program.disconnect()
    await ended
  })
}

export async function usage(): Promise<Usage> {
  child.send('usage')
  const [given] = (await once(child, 'message')) as [Usage]
  return given
}

/**
 * How long a fair client waits while others attack, in milliseconds: the median of at least 20 requests. A burst
 * of the attackers' may hold up one of them, and so may whatever else this machine does.
 */
export async function fairWait(): Promise<number> {
  const waits: number[] = []
  const since = performance.now()
  while (waits.length < 20 || performance.now() - since < 200) {
    const started = performance.now()
    const { status, body } = await ask(attacked.port, get('/fair'))
    expect([status, body]).toEqual([200, 'fair'])
    waits.push(performance.now() - started)
    await sleep(2)
  }
  waits.sort((one, other) => one - other)
  return waits[waits.length >> 1] as number
}

/** What is used once everything has been given back, or after a deadline. */
export async function givenBack(): Promise<Usage> {
  const deadline = performance.now() + 60_000
  for (;;) {
    const now = await usage()
    const clean = now.active === 0 && now.connections === 0 && now.upstreams === 0
    if ((clean && now.bytes < attacked.quiet.bytes + 16 * MIB) || performance.now() > deadline) return now
    await sleep(50)
  }
}
