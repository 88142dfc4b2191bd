import type { Backend } from '../backend.ts'
import { functionOf, integerIn, onlyKeys, show } from '../check.ts'
import type { LoadBalancer } from '../load-balancer.ts'
import type { SelectOptions } from '../pick.ts'
import type { SelectionKey } from '../selection/selection.ts'
import { Sealer } from './sealed-token.ts'

/** Options of {@link StickySessions}. */
export interface StickyOptions {
  /** Keys of at least 16 bytes. The first one signs, all are accepted: put a new one in front, take the old one off later. */
  readonly secrets: readonly (string | Uint8Array)[]
  /** Name of the cookie. Default `cirque_backend`. */
  readonly cookieName?: string
  /** A token is good for this long, and renewed in its second half. Seconds, from 1. Default 86,400. */
  readonly maxAgeSeconds?: number
  /** Further attributes of the cookie. Default `Path=/; HttpOnly; SameSite=Lax`; add `Secure` where clients use TLS. */
  readonly cookieAttributes?: string
  /** Milliseconds since 1970. Default `Date.now`. */
  readonly now?: () => number
}

/** What a sticky choice came to. */
export interface StickyChoice {
  readonly backend: Backend
  /** The token to give to the client, or `undefined` if it has a good one. */
  readonly token: string | undefined
}

const SECRET_BYTES_MIN = 16
const COOKIE_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}$/ // RFC 9110 §5.6.2
const ATTRIBUTES = /^[\x20-\x7e]{0,512}$/
const CONTENT = /^([0-9a-z]{1,11}) (.+)$/s
const COOKIE_HEADER_CHARACTERS_MAX = 65_536

/**
 * Keeps a client on the backend it met first, by a sealed token in a cookie or a header.
 *
 * The token holds the backend's address and the time, signed with HMAC-SHA-256 and encrypted: clients learn no address
 * and can neither make nor change a token. If the backend is gone or cannot serve, the balancer chooses anew and the
 * client gets a new token. A token that is too old, torn or forged is taken for none. Making and reading one costs
 * some microseconds each.
 *
 * @example
 * const choice = sticky.select(upstreams, sticky.tokenFromCookie(request.header('cookie')))
 * if (choice?.token) response.appendHeader('Set-Cookie', sticky.cookie(choice.token))
 */
export class StickySessions {
  readonly #sealers: readonly Sealer[]
  readonly #cookieName: string
  readonly #maxAgeSeconds: number
  readonly #cookieAttributes: string
  readonly #now: () => number

  /**
   * @throws {TypeError} If a secret is too short, or an option is not valid.
   * @throws {RangeError} If a number is out of range.
   */
  constructor(options: StickyOptions) {
    onlyKeys('StickySessions', options, ['secrets', 'cookieName', 'maxAgeSeconds', 'cookieAttributes', 'now'])
    if (!Array.isArray(options.secrets) || options.secrets.length === 0) {
      throw new TypeError('Expected secrets to be a list of at least one key')
    }
    this.#sealers = options.secrets.map((secret: string | Uint8Array) => {
      const key = Buffer.from(secret as string)
      if (key.length >= SECRET_BYTES_MIN) return new Sealer(key)
      throw new TypeError(`Expected a secret of at least 16 bytes, received one of ${key.length}`)
    })
    this.#cookieName = options.cookieName ?? 'cirque_backend'
    if (typeof this.#cookieName !== 'string' || !COOKIE_NAME.test(this.#cookieName)) {
      throw new TypeError(`Expected a cookie name, received ${show(this.#cookieName)}`)
    }
    this.#cookieAttributes = options.cookieAttributes ?? 'Path=/; HttpOnly; SameSite=Lax'
    if (typeof this.#cookieAttributes !== 'string' || !ATTRIBUTES.test(this.#cookieAttributes)) {
      throw new TypeError(`Expected cookie attributes, received ${show(this.#cookieAttributes)}`)
    }
    this.#maxAgeSeconds = integerIn('maxAgeSeconds', options.maxAgeSeconds ?? 86_400, 1, 2_147_483_647)
    this.#now = options.now === undefined ? Date.now : functionOf('now', options.now)
  }

  /**
   * The backend that the token names, if it can serve; otherwise the balancer's choice for `key`. `undefined` if none
   * can serve.
   */
  select(
    balancer: LoadBalancer,
    token: string | undefined,
    key?: SelectionKey,
    options?: SelectOptions,
  ): StickyChoice | undefined {
    const known = token === undefined ? undefined : this.#read(balancer, token)
    if (known !== undefined) {
      const eligible = balancer.isEligible(known.backend)
      if (options?.accept === undefined ? eligible : options.accept(known.backend, eligible)) {
        const old = known.ageSeconds * 2 > this.#maxAgeSeconds
        return { backend: known.backend, token: old ? this.tokenFor(known.backend) : undefined }
      }
    }
    const backend = balancer.select(key, options)
    return backend === undefined ? undefined : { backend, token: this.tokenFor(backend) }
  }

  /** A token for a backend, good from now. */
  tokenFor(backend: Backend): string {
    return (this.#sealers[0] as Sealer).seal(`${this.#seconds().toString(36)} ${backend.address}`)
  }

  /** The token among the cookies of a request, if there is one; its signature is not looked at yet. */
  tokenFromCookie(cookieHeader: string | undefined): string | undefined {
    if (cookieHeader === undefined || cookieHeader.length > COOKIE_HEADER_CHARACTERS_MAX) return undefined
    for (const pair of cookieHeader.split(';')) {
      const equals = pair.indexOf('=')
      if (equals !== -1 && pair.slice(0, equals).trim() === this.#cookieName) {
        return pair.slice(equals + 1).trim()
      }
    }
    return undefined
  }

  /** The value of a `Set-Cookie` header for a token. */
  cookie(token: string): string {
    const attributes = this.#cookieAttributes === '' ? '' : `; ${this.#cookieAttributes}`
    return `${this.#cookieName}=${token}; Max-Age=${this.#maxAgeSeconds}${attributes}`
  }

  #read(balancer: LoadBalancer, token: string): { backend: Backend; ageSeconds: number } | undefined {
    const [, issued = '', address = ''] = CONTENT.exec(this.#open(token) ?? '') ?? []
    if (address === '') return undefined
    const ageSeconds = this.#seconds() - Number.parseInt(issued, 36)
    if (ageSeconds > this.#maxAgeSeconds) return undefined
    const backend = balancer.backend(address)
    return backend === undefined ? undefined : { backend, ageSeconds }
  }

  #open(token: string): string | undefined {
    for (const sealer of this.#sealers) {
      const text = sealer.open(token)
      if (text !== undefined) return text
    }
    return undefined
  }

  #seconds(): number {
    return Math.floor(this.#now() / 1_000)
  }
}
