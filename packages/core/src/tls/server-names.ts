/**
 * The form in which server names are compared: lower case, no dot at the end. Undefined for what is no host name, so
 * that a callback may use the name as a key or in a path: letters, digits, `-`, `_` and single dots only.
 */
export function normalServerName(name: unknown): string | undefined {
  if (typeof name !== 'string' || name.length === 0 || name.length > 254) return undefined
  const lower = name.toLowerCase()
  const bare = lower.endsWith('.') ? lower.slice(0, -1) : lower
  return HOST_NAME.test(bare) ? bare : undefined
}

const HOST_NAME: RegExp = /^[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/

/** Names and wildcards (`*.example.com`) with a value each. An exact name goes before a wildcard of one label. */
export class ServerNameMap<T> {
  readonly #exact: Map<string, T> = new Map()
  readonly #wildcards: Map<string, T> = new Map()

  get size(): number {
    return this.#exact.size + this.#wildcards.size
  }

  /** False if the name is there already: the first one stays. @throws {TypeError} If it is no name. */
  add(name: string, value: T): boolean {
    const isWildcard = typeof name === 'string' && name.startsWith('*.')
    const normal = normalServerName(isWildcard ? name.slice(2) : name)
    if (normal === undefined) throw new TypeError(`Expected a server name, received ${JSON.stringify(name)}`)
    const map = isWildcard ? this.#wildcards : this.#exact
    if (map.has(normal)) return false
    map.set(normal, value)
    return true
  }

  /** Finds the value for a name in its normal form. Two look-ups, however many names there are. */
  find(name: string): T | undefined {
    const exact = this.#exact.get(name)
    if (exact !== undefined || this.#wildcards.size === 0) return exact
    const dot = name.indexOf('.')
    return dot < 0 ? undefined : this.#wildcards.get(name.slice(dot + 1))
  }
}
