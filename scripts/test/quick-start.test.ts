import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { request } from '../test-support/http-request.ts'
import { root } from '../workspace.ts'

const [upstreamCode = '', balancerCode = '', ...more] = [
  ...readFileSync(join(root, 'docs/quick-start.md'), 'utf8').matchAll(/^```ts\n(.*?)^```$/gms),
].map((match) => match[1] as string)

/** In an example's folder, from which the packages can be seen. */
let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(root, 'examples/load-balancer/test/.tmp-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** A program of the page, under way. */
class Program implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #closed: Promise<unknown>
  said = ''

  constructor(file: string, ...argv: string[]) {
    const { NODE_OPTIONS: _options, FORCE_COLOR: _color, ...env } = process.env
    this.#child = spawn(process.execPath, ['--conditions=@cirque/source', join(folder, file), ...argv], {
      env,
    })
    this.#closed = once(this.#child, 'close')
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.said += text
        this.#child.emit('said')
      })
    }
  }

  async says(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = pattern.exec(this.said)
      if (found !== null) return found[1] ?? ''
      await Promise.race([
        once(this.#child, 'said'),
        this.#closed.then(() => expect.fail(`It ended without ${pattern}: ${this.said}`)),
      ])
    }
  }

  /** The address it listens on. */
  get address(): Promise<string> {
    return this.says(/Listening .*address=(\S+) tls/)
  }

  /** Ctrl-C; its exit status. */
  async interrupt(): Promise<number | null> {
    this.#child.kill('SIGINT')
    await this.#closed
    return this.#child.exitCode
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL')
    await this.#closed
  }
}

test('the quick start keeps its promises: round robin, failover, and the way back', async () => {
  expect(more).toEqual([])
  writeFileSync(join(folder, 'upstream.ts'), upstreamCode)
  await using one = new Program('upstream.ts', '0')
  await using two = new Program('upstream.ts', '0')
  await using three = new Program('upstream.ts', '0')
  const addresses = await Promise.all([one.address, two.address, three.address])
  const bodies = addresses.map((address) => `hello from port ${address.split(':')[1]}\n`)

  // The page's own ports may be taken on this machine.
  const here = addresses.reduce(
    (code, address, index) => code.replace(`127.0.0.1:700${index + 1}`, address),
    balancerCode,
  )
  writeFileSync(join(folder, 'balancer.ts'), here.replace('127.0.0.1:6188', '127.0.0.1:0'))
  await using balancer = new Program('balancer.ts')
  const address = await balancer.address
  const ask = async (times: number) =>
    (await Promise.all(Array.from({ length: times }, () => request(address, '/')))).map(({ body }) => body)
  expect([...new Set(await ask(6))].sort()).toEqual([...bodies].sort())

  expect(await two.interrupt()).toBe(0)
  const [first = '', second = '', third = ''] = bodies
  for (const body of await ask(12)) expect([first, third]).toContain(body)
  await balancer.says(new RegExp(`^unhealthy load-balancer: 2 of 3 .* out: ${addresses[1]} unhealthy$`, 'm'))
  for (const body of await ask(12)) expect([first, third]).toContain(body)

  await using _again = new Program('upstream.ts', addresses[1]?.split(':')[1] as string)
  await balancer.says(/^healthy load-balancer: 3 of 3 /m)
  expect([...new Set(await ask(6))].sort()).toEqual([first, second, third].sort())
  expect(await balancer.interrupt()).toBe(0)
})

test('its code has no type errors', () => {
  writeFileSync(join(folder, 'upstream.ts'), upstreamCode)
  writeFileSync(join(folder, 'balancer.ts'), balancerCode)
  const config = {
    extends: '../../../../tsconfig.base.json',
    // What is wrong in the packages, if anything, is for their own type checks to say.
    compilerOptions: { noEmit: true },
    files: ['upstream.ts', 'balancer.ts'],
  }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
  const tsc = join(root, 'node_modules/.bin/tsc')
  let said = ''
  try {
    execFileSync(tsc, ['-p', folder, '--pretty', 'false'], { encoding: 'utf8', stdio: 'pipe' })
  } catch (error) {
    said = (error as { stdout: string }).stdout
  }
  expect(said.split('\n').filter((line) => /(?:upstream|balancer)\.ts\(/.test(line))).toEqual([])
})
