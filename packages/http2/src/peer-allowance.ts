import type { Http2Connection } from './connection.ts'
import { ErrorCode } from './constants.ts'
import type { ResolvedHttp2Options } from './options.ts'
import { TokenBucket } from './token-bucket.ts'

/** Control frames at once, as a multiple of what is allowed per second. */
const CONTROL_BURST_SECONDS = 10
/** WINDOW_UPDATEs that may come before any data of ours has explained them. */
const UPDATES_FREE = 1_000
const UPDATES_EARNED_MAX = 10_000
/** WINDOW_UPDATEs that a peer may well answer a frame of ours with. */
const UPDATES_PER_FRAME = 4

/** What a peer may do of its own accord, but not without end: whoever goes beyond it loses the connection. */
export class PeerAllowance {
  private readonly connection: Http2Connection
  private readonly resets: TokenBucket
  private readonly controls: TokenBucket
  private updates = UPDATES_FREE

  constructor(connection: Http2Connection, options: ResolvedHttp2Options) {
    const { resetBurstMax, resetsPerSecondMax, controlFramesPerSecondMax } = options
    this.connection = connection
    this.resets = new TokenBucket(resetBurstMax, resetsPerSecondMax)
    this.controls = new TokenBucket(
      controlFramesPerSecondMax * CONTROL_BURST_SECONDS,
      controlFramesPerSecondMax,
    )
  }

  /** A stream ended by a reset, the peer's or one that it made us send. */
  countReset(): void {
    const { connection } = this
    if (!connection.ended && !this.resets.take()) {
      connection.fail(ErrorCode.ENHANCE_YOUR_CALM, 'HTTP2_RESET_FLOOD')
    }
  }

  /** A frame that costs us and carries nothing. */
  countControl(): void {
    const { connection } = this
    if (!connection.ended && !this.controls.take()) {
      connection.fail(ErrorCode.ENHANCE_YOUR_CALM, 'HTTP2_CONTROL_FLOOD')
    }
  }

  /** A frame of ours: the peer may answer it with updates of its windows. */
  earnUpdates(): void {
    this.updates += UPDATES_PER_FRAME
  }

  /** A WINDOW_UPDATE: one that no frame of ours explains is a control frame like others. */
  countUpdate(): void {
    if (--this.updates < 0) {
      this.updates = 0
      this.countControl()
    } else if (this.updates > UPDATES_EARNED_MAX) this.updates = UPDATES_EARNED_MAX
  }
}
