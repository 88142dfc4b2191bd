import { type ResolvedHttp2Options, resolveHttp2Options } from '@cirque/http2'
import type { ResolvedHttpServerOptions } from '../downstream/http-server-options.ts'
import type { ResponseLimits } from '../http1/client-life.ts'
import type { HttpPeer } from '../upstream/peer.ts'

/** The pseudo-fields come on top of what the fields' own check allows. */
const PSEUDO_FIELDS_MAX = 16
/** Upstreams may send larger frames than clients: fewer heads for the same bytes. */
const UPSTREAM_FRAME_BYTES_MAX = 65_536

const ofServers: WeakMap<ResolvedHttpServerOptions, ResolvedHttp2Options> = new WeakMap()

/** What an HTTP/2 connection to a client allows; resolved once for all of a service. */
export function serverEngineOptions(options: ResolvedHttpServerOptions): ResolvedHttp2Options {
  let resolved = ofServers.get(options)
  if (resolved === undefined) {
    resolved = resolveHttp2Options({
      streamsMax: options.http2StreamsMax,
      windowBytes: options.http2WindowBytes,
      headerListBytesMax: options.headBytesMax,
      fieldsMax: options.fieldsMax + PSEUDO_FIELDS_MAX,
      resetBurstMax: options.http2ResetBurstMax,
      resetsPerSecondMax: options.http2ResetsPerSecondMax,
      controlFramesPerSecondMax: options.http2ControlFramesPerSecondMax,
      connectProtocol: true,
    })
    ofServers.set(options, resolved)
  }
  return resolved
}

/** What an HTTP/2 connection to `peer` allows. */
export function clientEngineOptions(peer: HttpPeer, limits: ResponseLimits): ResolvedHttp2Options {
  return resolveHttp2Options({
    streamsMax: peer.options.http2StreamsMax,
    windowBytes: peer.options.http2WindowBytes,
    frameBytesMax: UPSTREAM_FRAME_BYTES_MAX,
    headerListBytesMax: limits.headBytesMax,
    fieldsMax: limits.fieldsMax + PSEUDO_FIELDS_MAX,
  })
}
