import type { SharedState, SharedValue } from '../threads/shared-state.ts'
import type { Endpoint } from './endpoint.ts'

/** The ticket keys of endpoints with TLS, by the endpoint's place. */
type TicketState = readonly (readonly [endpoint: number, keys: string | Uint8Array])[]

/**
 * The TLS ticket keys of a service's endpoints on their way to others: workers resume each other's sessions, and a
 * successor those of its predecessor.
 */
export class TicketSharing {
  readonly #endpoints: readonly Endpoint[]
  #shared: SharedValue<TicketState> | undefined

  /** @param endpoints - More may be added until workers are to have them. */
  constructor(endpoints: readonly Endpoint[]) {
    this.#endpoints = endpoints
  }

  /** In the main thread: the workers use the same keys. */
  lead(shared: SharedState | undefined): void {
    this.#shared = shared?.value<TicketState>('ticket keys')
    this.#publish()
  }

  /** In a worker: uses the keys of the main thread. */
  follow(shared: SharedState): void {
    shared.value<TicketState>('ticket keys').subscribe((state) => {
      for (const [index, keys] of state) this.#endpoints[index]?.acceptor?.followTicketKeys(keys)
    })
  }

  /** What a successor needs, by the endpoints' keys; a secret. */
  export(): [key: string, keys: string][] {
    return this.#endpoints.flatMap(({ acceptor, key }): [string, string][] => {
      const keys = acceptor?.exportTicketKeys()
      return keys === undefined ? [] : [[key, keys]]
    })
  }

  /** Goes on with what a predecessor exported, in all threads. */
  import(tickets: unknown): void {
    const keys = new Map(Array.isArray(tickets) ? (tickets as [string, string][]) : [])
    for (const { acceptor, key } of this.#endpoints) {
      const own = keys.get(key)
      if (own !== undefined) acceptor?.importTicketKeys(own)
    }
    this.#publish()
  }

  #publish(): void {
    const state: TicketState = this.#endpoints.flatMap(({ acceptor }, index) =>
      acceptor === undefined ? [] : [[index, acceptor.ticketKeyState()] as const],
    )
    this.#shared?.set(state)
  }
}
