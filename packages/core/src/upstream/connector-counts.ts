import { type Channel, channel } from 'node:diagnostics_channel'
import type { EvictReason } from '@cirque/pool'
import type { HttpPeer } from './peer.ts'

/** What a connector has done so far. */
export interface ConnectorStats {
  readonly idle: number
  readonly open: number
  readonly opened: number
  readonly reused: number
  readonly failed: number
  /** Idle connections that were closed because bytes arrived which nobody had asked for. */
  readonly unexpectedData: number
  /** Invariants of upstream connections that were broken. More than 0 is a defect of ours: report it. */
  readonly broken: number
  /** Idle connections of HTTP/1 that the pool has closed, by the reason. */
  readonly evictions: Readonly<Record<EvictReason, number>>
}

/** What is published on the channel `cirque:pool`. */
export interface PoolMessage {
  /** A connection was opened, taken from the pool, or closed by the pool while idle; or none could be opened. */
  readonly event: 'opened' | 'reused' | 'evicted' | 'failed'
  readonly peer: HttpPeer
  /** Why it was evicted; undefined for other events. */
  readonly reason: EvictReason | undefined
}

const poolChannel: Channel = channel('cirque:pool')

/** Counts what becomes of a connector's connections, and publishes it on the channel `cirque:pool`. */
export class ConnectorCounts {
  open = 0
  opened = 0
  reused = 0
  failed = 0
  unexpectedData = 0
  broken = 0

  connectionOpened(peer: HttpPeer): void {
    this.opened++
    this.open++
    publish('opened', peer)
  }

  connectionReused(peer: HttpPeer): void {
    this.reused++
    publish('reused', peer)
  }

  connectFailed(peer: HttpPeer): void {
    this.failed++
    publish('failed', peer)
  }

  connectionEvicted(peer: HttpPeer, reason: EvictReason): void {
    publish('evicted', peer, reason)
  }

  connectionEnded(): void {
    this.open--
  }
}

function publish(event: PoolMessage['event'], peer: HttpPeer, reason?: EvictReason): void {
  if (poolChannel.hasSubscribers) poolChannel.publish({ event, peer, reason } satisfies PoolMessage)
}
