import type { Socket } from 'node:net'
import {
  frame,
  HEADERS,
  NOTHING,
  PREFACE,
  SETTINGS,
  splitFrames,
} from '../../../../scripts/test-support/http2-frames.ts'
import { startUpstream, type Upstream } from './upstream.ts'

/** An HTTP/2 upstream that sends its settings, then does `onHead` for each HEADERS frame, and nothing else. */
export function startHttp2Upstream(
  settings: Buffer,
  onHead: (socket: Socket, stream: number) => void,
): Promise<Upstream> {
  return startUpstream((socket) => {
    let bytes: Buffer = NOTHING
    let skip = PREFACE.length
    socket.write(frame(SETTINGS, 0, 0, settings))
    socket.on('end', () => socket.end())
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk])
      if (bytes.length < skip) return
      bytes = bytes.subarray(skip)
      skip = 0
      const { frames, rest } = splitFrames(bytes)
      bytes = rest
      for (const { type, stream } of frames) if (type === HEADERS) onHead(socket, stream)
    })
  })
}
