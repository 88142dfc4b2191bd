import { subscribe } from 'node:diagnostics_channel'
import type { ConnectionMessage } from '@cirque/core'

let isSubscribed = false

/**
 * Makes the addresses of connections from now on known to the end. A socket that is closed knows only what it was
 * asked for before, and a client that leaves early is the one whose address one wants. Once per connection, where
 * asking at the start of each request would cost as much as the rest of its line.
 */
export function rememberAddresses(): void {
  if (isSubscribed) return
  isSubscribed = true
  // For the life of the process: it refers to no log, and what it does costs little.
  subscribe('cirque:connection', (message) => {
    const { socket } = message as ConnectionMessage
    void socket.remoteAddress
    void socket.localAddress
  })
}
