import { type FSWatcher, watch } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { Backend, type BackendOptions } from '../backend.ts'
import { booleanOf, integerIn, milliseconds, onlyKeys, show } from '../check.ts'
import { runInSlices, STEP_ITEMS, type Steps } from '../steps.ts'
import type { Discovery, DiscoveryResult } from './discovery.ts'

/** Options of {@link FileDiscovery}. */
export interface FileDiscoveryOptions {
  /** A larger file is refused. Bytes, from 1. Default 16 MiB. */
  readonly fileBytesMax?: number
  /** How often the file's date is looked at, for file systems that tell nothing. Milliseconds, from 1. Default 5,000. */
  readonly pollMs?: number
  /** Take a file that lists nothing as it is. Default false: it is an error, as a file is empty while it is rewritten. */
  readonly allowEmpty?: boolean
}

/** Changes within this time are one. */
const SETTLE_MS = 100

/**
 * Backends listed in a file, which is read again when it changes: in place, by rename, or by a swapped symbolic link.
 *
 * Either JSON, an array of addresses or objects `{ "address": "10.0.0.1:80", "weight": 2, "priority": 0,
 * "inFlightMax": 100, "metadata": {}, "peerOptions": {}, "enabled": true }`; or lines of an address and options,
 * `10.0.0.1:80 weight=2 priority=1 enabled=false`, where `#` starts a comment. Anything else is an error that names
 * the line or entry, and keeps the last good set.
 */
export class FileDiscovery implements Discovery {
  readonly #path: string
  readonly #fileBytesMax: number
  readonly #pollMs: number
  readonly #allowEmpty: boolean
  #last: { readonly text: string; readonly result: DiscoveryResult } | undefined

  /**
   * @throws {TypeError} If the path is not text, or an option is unknown.
   * @throws {RangeError} If a number is out of range.
   */
  constructor(path: string, options: FileDiscoveryOptions = {}) {
    onlyKeys('FileDiscovery', options, ['fileBytesMax', 'pollMs', 'allowEmpty'])
    if (typeof path !== 'string' || path === '')
      throw new TypeError(`Expected a path, received ${show(path)}`)
    this.#path = resolve(path)
    this.#fileBytesMax = integerIn('fileBytesMax', options.fileBytesMax ?? 16_777_216, 1, 1_073_741_824)
    this.#pollMs = milliseconds('pollMs', options.pollMs ?? 5_000)
    this.#allowEmpty = booleanOf('allowEmpty', options.allowEmpty ?? false)
  }

  async discover(signal: AbortSignal): Promise<DiscoveryResult> {
    const { size } = await stat(this.#path)
    if (size > this.#fileBytesMax) {
      throw new RangeError(`"${this.#path}" has ${size} bytes, more than fileBytesMax ${this.#fileBytesMax}`)
    }
    const content = await readFile(this.#path, { encoding: 'utf8', signal })
    const text = content.startsWith('\uFEFF') ? content.slice(1) : content
    // The same objects again: the balancer then sees at once that nothing changed.
    if (this.#last?.text === text) return this.#last.result
    const result = await runInSlices(parse(text, this.#path), signal)
    if (result.backends.length === 0 && !this.#allowEmpty)
      throw new Error(`"${this.#path}" lists no backends`)
    this.#last = { text, result }
    return result
  }

  watch(changed: () => void): () => void {
    let settling: NodeJS.Timeout | undefined
    const onChange = () => {
      settling ??= setTimeout(() => {
        settling = undefined
        changed()
      }, SETTLE_MS).unref()
    }
    // The folder, as a renamed file is another file, and a mounted one may be behind a link that is swapped.
    let watcher: FSWatcher | undefined
    try {
      watcher = watch(dirname(this.#path), { persistent: false }, onChange)
      watcher.on('error', () => watcher?.close())
    } catch {
      // The folder is missing or cannot be watched: polling does it alone.
    }
    let seen: string | undefined
    let polling = false
    const poll = async () => {
      if (polling) return
      polling = true
      const now = await fingerprint(this.#path)
      polling = false
      if (seen !== undefined && now !== seen) onChange()
      seen = now
    }
    const timer = setInterval(() => void poll(), this.#pollMs).unref()
    void poll()
    return () => {
      clearInterval(timer)
      clearTimeout(settling)
      watcher?.close()
    }
  }
}

/** What changes when the file does. Never rejects. */
async function fingerprint(path: string): Promise<string> {
  try {
    const { mtimeMs, size, ino } = await stat(path)
    return `${mtimeMs} ${size} ${ino}`
  } catch {
    return 'missing'
  }
}

interface Entry extends BackendOptions {
  readonly address: string
  readonly enabled?: boolean
}

function* parse(text: string, path: string): Steps<DiscoveryResult> {
  const isJson = /^\s*[[{]/.test(text.slice(0, 1_000))
  const entries = isJson ? parseJson(text, path) : parseLines(text)
  const backends: Backend[] = []
  const disabled: string[] = []
  for (const [place, read] of entries) {
    try {
      const { address, enabled = true, ...options } = read()
      if (typeof enabled !== 'boolean') throw new TypeError(`enabled is not a boolean: ${show(enabled)}`)
      const backend = new Backend(address, options)
      backends.push(backend)
      if (!enabled) disabled.push(backend.address)
    } catch (cause) {
      throw new Error(`${(cause as Error).message} (${place} of "${path}")`, { cause })
    }
    if (backends.length % STEP_ITEMS === 0) yield
  }
  return { backends, disabled }
}

/** Where each entry stands, and how to read it. */
type Entries = Iterable<[place: string, read: () => Entry]>

function* parseJson(text: string, path: string): Generator<[string, () => Entry]> {
  let list: unknown
  try {
    list = JSON.parse(text)
  } catch (cause) {
    throw new Error(`"${path}" is not valid JSON`, { cause })
  }
  if (!Array.isArray(list)) throw new TypeError(`"${path}" is not a JSON array`)
  for (const [index, item] of list.entries()) {
    yield [
      `entry ${index + 1}`,
      () => {
        if (typeof item === 'string') return { address: item }
        if (typeof item?.address === 'string') return item as Entry
        throw new TypeError(`Expected an address or an object with one, received ${show(item)}`)
      },
    ]
  }
}

function* parseLines(text: string): Entries & Generator<[string, () => Entry]> {
  let number = 0
  for (const line of text.split('\n')) {
    number++
    const words = withoutComment(line).trim()
    if (words !== '') yield [`line ${number}`, () => parseLine(words.split(/\s+/))]
  }
}

/** A comment begins the line, or follows white space. */
function withoutComment(line: string): string {
  for (let at = line.indexOf('#'); at >= 0; at = line.indexOf('#', at + 1)) {
    if (at === 0 || line.charCodeAt(at - 1) <= 0x20) return line.slice(0, at)
  }
  return line
}

function parseLine([address = '', ...words]: string[]): Entry {
  const entry: Record<string, unknown> = { address }
  for (const word of words) {
    const [, name = '', value = ''] = /^(weight|priority|inFlightMax|enabled)=(\w+)$/.exec(word) ?? []
    if (name === '') {
      throw new TypeError(`Expected weight=, priority=, inFlightMax= or enabled=, received ${show(word)}`)
    }
    if (name in entry) throw new TypeError(`${name} is given twice`)
    if (name === 'enabled') entry['enabled'] = value === 'true' ? true : value === 'false' ? false : value
    else entry[name] = Number(value)
  }
  return entry as unknown as Entry
}
