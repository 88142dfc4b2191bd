/** A limit in the words of its header fields. */
export interface LimitPolicy {
  /** Name in the header fields, printable ASCII. */
  readonly name: string
  /** Quota units in a window. */
  readonly limit: number
  /** Length of the window in milliseconds. */
  readonly windowMs: number
}

/**
 * Whether a request fits, and what to tell its client. A value, made per request; header texts are made on reading.
 *
 * Field values follow draft-ietf-httpapi-ratelimit-headers-11 (RateLimit header fields for HTTP, May 2026); the
 * draft may still change, and so may these texts in a minor release.
 */
export class Decision {
  readonly allowed: boolean
  /** Units of the whole quota. */
  readonly limit: number
  /** Whole units left now. */
  readonly remaining: number
  /** When refused: milliseconds until the same request would fit; `Infinity` if it is above the quota. Else 0. */
  readonly retryAfterMs: number
  /** Milliseconds until the whole quota is there again, if nothing else comes. */
  readonly resetMs: number
  readonly #policy: LimitPolicy

  constructor(
    policy: LimitPolicy,
    allowed: boolean,
    remaining: number,
    retryAfterMs: number,
    resetMs: number,
  ) {
    this.allowed = allowed
    this.limit = policy.limit
    this.remaining = remaining
    this.retryAfterMs = retryAfterMs
    this.resetMs = resetMs
    this.#policy = policy
  }

  /** For `RateLimit-Policy` (draft §3): `"default";q=100;w=60`. Equal in all answers. */
  get rateLimitPolicy(): string {
    return `${quote(this.#policy.name)};q=${this.limit};w=${seconds(this.#policy.windowMs)}`
  }

  /**
   * For `RateLimit` (draft §4): `"default";r=7;t=3`, units left and the seconds for which they must last. That is
   * until the quota is whole again, or in a refusal until `Retry-After`, which may not end earlier (draft §6).
   */
  get rateLimit(): string {
    const untilMs = this.allowed || !Number.isFinite(this.retryAfterMs) ? this.resetMs : this.retryAfterMs
    return `${quote(this.#policy.name)};r=${this.remaining};t=${seconds(untilMs)}`
  }

  /** For `Retry-After` (RFC 9110 §10.2.3), in seconds; `undefined` when allowed, or when waiting would not help. */
  get retryAfter(): string | undefined {
    if (this.allowed || !Number.isFinite(this.retryAfterMs)) return undefined
    return String(Math.max(1, seconds(this.retryAfterMs)))
  }
}

/** The largest Integer of a header field (RFC 9651 §3.3.1). */
const SECONDS_MAX = 999_999_999_999_999

/** Rounded up: a client that comes back at that second is not early. */
function seconds(ms: number): number {
  return Math.min(SECONDS_MAX, Math.ceil(ms / 1000))
}

/** A String of RFC 9651 §3.3.3. */
function quote(name: string): string {
  return `"${name.replace(/["\\]/g, '\\$&')}"`
}

/** Returns `name` if it can stand in a header field, or throws a `TypeError`. */
export function checkName(name: string): string {
  if (typeof name !== 'string' || !/^[\x20-\x7e]+$/.test(name)) {
    throw new TypeError(`name must be printable ASCII, received ${JSON.stringify(name) ?? String(name)}`)
  }
  return name
}
