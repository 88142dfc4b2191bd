/** What has happened on the HTTP/2 connections of clients so far. */
export interface Http2Counts {
  connections: number
  requests: number
  /** Streams that ended before their response did: reset by the client, or by us for what it did. */
  resets: number
  /** Connections that were told to end: they had been idle, had served their share, or the service drained. */
  goAways: number
  /** Connections that were cut for flooding, with resets, pings or settings. */
  floods: number
}

export function noHttp2Counts(): Http2Counts {
  return { connections: 0, requests: 0, resets: 0, goAways: 0, floods: 0 }
}
