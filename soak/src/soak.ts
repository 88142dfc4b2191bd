import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type CertificateFiles, Gateway, startOrigin } from './children.ts'
import { GOOD_CLIENT_MS, GoodClient } from './good-client.ts'
import { closeHttp, get, HTTP1_KINDS } from './http-traffic.ts'
import { closeOthers, OTHER_KINDS, UPGRADE_KINDS } from './other-traffic.ts'
import type { GatewayState } from './programs/gateway.ts'
import type { SoakResult } from './report.ts'
import { Traffic } from './traffic.ts'
import { judge, notGivenBack, type Sample } from './verdict.ts'

/** What {@link soak} takes. */
export interface SoakOptions {
  readonly minutes: number
  /** Exchanges per second, over all kinds. */
  readonly perSecond: number
  /** Worker threads that serve HTTP in each gateway. Default 1: the main thread does. */
  readonly threads?: number
  /** Called with each sample. */
  readonly onSample?: (sample: Sample) => void
}

const CERTIFICATES: URL = new URL('../../packages/core/test/data/', import.meta.url)
const SAMPLES = 400
const COLLECT_ONE_IN = 4
/** Longer than what the gateway keeps of idle clients and UDP sessions. */
const SETTLE_MS = 30_000

/**
 * Sends mixed traffic through a gateway and samples it, while a second gateway is upgraded again and again under
 * traffic of its own. Each runs in a process of its own; so do the upstreams.
 */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  const folder = mkdtempSync(join(tmpdir(), 'cirque-soak-'))
  const tls = certificatesIn(folder)
  const origin = await startOrigin()
  const gateway = await Gateway.start(origin.ports, tls, options.threads ?? 1)
  const upgraded = await Gateway.start(origin.ports, tls, options.threads ?? 1)
  try {
    return await run(options, gateway, upgraded, tls)
  } finally {
    closeHttp()
    closeOthers()
    await Promise.all([gateway.stop(), upgraded.stop()])
    await origin.stop()
    rmSync(folder, { recursive: true })
  }
}

/** How far a soak is, and what it has seen. */
class Course {
  readonly seconds: number
  readonly samples: Sample[] = []
  reloads = 0
  upgrades = 0
  readonly #startedAt: number = performance.now()

  constructor(seconds: number) {
    this.seconds = seconds
  }

  /** Seconds since it began. */
  get since(): number {
    return (performance.now() - this.#startedAt) / 1_000
  }
}

async function run(
  options: SoakOptions,
  gateway: Gateway,
  upgraded: Gateway,
  tls: CertificateFiles,
): Promise<SoakResult> {
  const before = await gateway.state(true)
  const traffic = new Traffic()
  const good = new GoodClient(gateway, traffic)
  const share = Math.max(4, options.perSecond / 10)
  traffic.begin(gateway, [...HTTP1_KINDS, ...OTHER_KINDS], options.perSecond)
  traffic.begin(upgraded, [...newConnections(), ...UPGRADE_KINDS], share)
  good.begin()
  const course = new Course(options.minutes * 60)
  const failed = (error: unknown): void => traffic.report(`the soak itself: ${(error as Error).message}`)
  await Promise.all([
    sample(course, gateway, good, options.onSample).catch(failed),
    reload(course, gateway, tls).catch(failed),
    upgrade(course, upgraded).catch(failed),
  ])
  await Promise.all([traffic.end(), good.end()])
  closeHttp()
  closeOthers()
  const { samples, reloads, upgrades } = course
  return {
    minutes: course.since / 60,
    threads: options.threads ?? 1,
    perSecond: Math.round(options.perSecond + share + 1_000 / GOOD_CLIENT_MS),
    samples,
    judgements: judge(samples),
    counts: traffic.counts,
    errors: traffic.errors,
    upgrades,
    reloads,
    left: await settled(gateway, before),
  }
}

async function sample(
  course: Course,
  gateway: Gateway,
  good: GoodClient,
  onSample: SoakOptions['onSample'],
): Promise<void> {
  const every = Math.max(0.5, course.seconds / SAMPLES)
  for (let count = 1; course.since < course.seconds; count += 1) {
    await delay(Math.max(0, count * every - course.since) * 1_000)
    const state = await gateway.state(count % COLLECT_ONE_IN === 0)
    const taken: Sample = { seconds: course.since, state, ...good.take() }
    course.samples.push(taken)
    onSample?.(taken)
  }
}

async function reload(course: Course, gateway: Gateway, tls: CertificateFiles): Promise<void> {
  const every = Math.max(3, course.seconds / 60)
  while (course.since + every < course.seconds) {
    await delay(every * 1_000)
    if (course.reloads % 2 === 0) copyCertificates(tls)
    gateway.reload(++course.reloads)
  }
}

async function upgrade(course: Course, upgraded: Gateway): Promise<void> {
  const every = Math.max(10, course.seconds / 30)
  while (course.since + every < course.seconds) {
    await delay(every * 1_000)
    await upgraded.upgrade()
    course.upgrades += 1
  }
}

/** Waits until everything is given back, and tells what is not after a while. */
async function settled(gateway: Gateway, before: GatewayState): Promise<string[]> {
  const until = performance.now() + SETTLE_MS
  for (;;) {
    const left = notGivenBack(before, await gateway.state(true))
    if (left.length === 0 || performance.now() > until) return left
    await delay(500)
  }
}

function newConnections(): typeof HTTP1_KINDS {
  return HTTP1_KINDS.filter(({ name }) => /new|slow upstream|own answer/.test(name)).map((kind) => ({
    ...kind,
    name: `${kind.name}, through upgrades`,
    ...(kind.name === 'own answer' ? { run: (place) => get(place, '/own') } : {}),
  }))
}

function certificatesIn(folder: string): CertificateFiles {
  const tls = { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') }
  copyCertificates(tls)
  return tls
}

function copyCertificates({ certFile, keyFile }: CertificateFiles): void {
  copyFileSync(fileURLToPath(new URL('localhost.pem', CERTIFICATES)), certFile)
  copyFileSync(fileURLToPath(new URL('localhost-key.pem', CERTIFICATES)), keyFile)
}
