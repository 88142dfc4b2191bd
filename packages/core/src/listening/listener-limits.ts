/**
 * Counts open connections per client. It holds one entry per client with an open connection, so it is
 * bounded by the number of connections.
 */
export class ClientCounts {
  readonly #counts: Map<string, number> = new Map()
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  /** Counts one more connection of `client` and returns true, or returns false if it has its share. */
  tryAcquire(client: string): boolean {
    const count = this.#counts.get(client) ?? 0
    if (count >= this.#max) return false
    this.#counts.set(client, count + 1)
    return true
  }

  /** Gives back what `tryAcquire` counted. */
  release(client: string): void {
    const count = this.#counts.get(client) ?? 0
    if (count > 1) this.#counts.set(client, count - 1)
    else this.#counts.delete(client)
  }
}

/**
 * The client that an IP address stands for: itself for IPv4 (mapped or not), its /64 for IPv6, because one
 * subscriber usually holds a whole /64 and could use a new address for each connection.
 */
export function clientOf(ip: string): string {
  if (!ip.includes(':')) return ip
  if (ip.startsWith('::ffff:') && ip.includes('.')) return ip.slice(7)
  const plain = ip.includes('%') ? ip.slice(0, ip.indexOf('%')) : ip
  const [head = '', tail] = plain.split('::')
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const tailGroups = tail === '' ? [] : tail.split(':')
    while (groups.length + tailGroups.length < 8) groups.push('0')
    groups.push(...tailGroups)
  }
  return `${groups.slice(0, 4).join(':')}::/64`
}
