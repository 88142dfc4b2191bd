import { createHmac, randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { rejectUnknown, requireFunction } from '../option-checks.ts'

/** Options of {@link TicketKeys}. */
export interface TicketKeysOptions {
  /** How long one key encrypts tickets, in ms, from 60,000 to 604,800,000 (a week). Default 43,200,000: 12 hours. */
  readonly rotationMs?: number
  /** Milliseconds since the epoch; for tests. Default `Date.now`. */
  readonly now?: () => number
}

const VERSION = 'cirque-ticket-keys-1'
/** Beyond this many missed rotations, as after a clock that was years off, the chain is cut short. */
const STEPS_MAX = 100_000

/**
 * Keys for TLS session tickets that rotate by the clock, and that any number of listeners may share: a session made
 * at one is resumed at the other, also in another process or on another host that imported the same state.
 *
 * Each key comes from the one before by a one-way step, so whoever shares a state stays in step without talking, and
 * keys of the past cannot be told from the state: recorded traffic of TLS 1.2 stays sealed. After a rotation, older
 * tickets no longer resume; their clients do a full handshake.
 *
 * @example
 * const ticketKeys = new TicketKeys()
 * service.addTls('0.0.0.0:443', { certFile, keyFile, ticketKeys })
 * service.addTls('[::]:443', { certFile, keyFile, ticketKeys })
 */
export class TicketKeys {
  readonly rotationMs: number
  readonly #now: () => number
  #chain: Buffer
  #period: number
  #key: Buffer

  /** @throws {RangeError} If `rotationMs` is out of bounds. */
  constructor(options: TicketKeysOptions = {}) {
    rejectUnknown(options, ['rotationMs', 'now'], 'TicketKeys')
    const { rotationMs = 43_200_000, now = Date.now } = options
    requireFunction('now of TicketKeys', now)
    if (!Number.isInteger(rotationMs) || rotationMs < 60_000 || rotationMs > 604_800_000) {
      throw new RangeError(
        `Expected rotationMs to be a whole number from 60000 to 604800000, received ${inspect(rotationMs)}`,
      )
    }
    this.rotationMs = rotationMs
    this.#now = now
    this.#chain = randomBytes(32)
    this.#period = Math.floor(now() / rotationMs)
    this.#key = ticketKey(this.#chain)
  }

  /**
   * Keys from an exported state, rotated up to now.
   *
   * @throws {TypeError} If the text is none that `export()` made.
   */
  static import(state: string, options: Pick<TicketKeysOptions, 'now'> = {}): TicketKeys {
    const [version, rotation, period, chain, ...rest] = typeof state === 'string' ? state.split('.') : []
    const bytes = Buffer.from(chain ?? '', 'base64url')
    const isWhole = [rotation, period].every((text) => text !== undefined && /^\d{1,15}$/.test(text))
    // The state is a secret, so it is not quoted.
    if (version !== VERSION || !isWhole || bytes.length !== 32 || rest.length > 0) {
      throw new TypeError('Expected the exported state of TicketKeys')
    }
    const keys = new TicketKeys({ ...options, rotationMs: Number(rotation) })
    keys.#period = Number(period)
    keys.#chain = bytes
    keys.#key = ticketKey(bytes)
    keys.#advance()
    return keys
  }

  /**
   * The state as text, for `TicketKeys.import` in another process. It is a secret: whoever has it reads the tickets
   * of this rotation and of all that follow.
   */
  export(): string {
    this.#advance()
    return [VERSION, this.rotationMs, this.#period, this.#chain.toString('base64url')].join('.')
  }

  /**
   * Goes on with an exported state, in place: every listener that shares these keys follows.
   *
   * @throws {TypeError} If the text is none that `export()` made.
   * @throws {RangeError} If it rotates at another pace.
   */
  restore(state: string): void {
    const keys = TicketKeys.import(state, { now: this.#now })
    if (keys.rotationMs !== this.rotationMs) {
      throw new RangeError(
        `Expected ticket keys that rotate every ${this.rotationMs} ms, not ${keys.rotationMs}`,
      )
    }
    this.#chain = keys.#chain
    this.#period = keys.#period
    this.#key = keys.#key
  }

  /** The 48 bytes that Node.js takes as `ticketKeys`; the same buffer until the key rotates. */
  get key(): Buffer {
    this.#advance()
    return this.#key
  }

  /** Moves to the current period; a clock that goes back changes nothing. */
  #advance(): void {
    const period = Math.floor(this.#now() / this.rotationMs)
    if (period <= this.#period) return
    const first = Math.max(this.#period, period - STEPS_MAX)
    for (let step = first; step < period; step += 1) this.#chain = derive('sha256', this.#chain, 'next')
    this.#period = period
    this.#key = ticketKey(this.#chain)
  }
}

function ticketKey(chain: Buffer): Buffer {
  return derive('sha512', chain, 'ticket').subarray(0, 48)
}

function derive(hash: string, key: Buffer, label: string): Buffer {
  return createHmac(hash, key).update(`cirque tls ${label}`).digest()
}
