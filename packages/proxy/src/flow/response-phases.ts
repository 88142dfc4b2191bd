import { type ClientSession, declaredLength, type HttpModules, type ServerSession } from '@cirque/core'
import { ProxyError } from '@cirque/error'
import { checkTrailers, type ResponseHeader, removeHopByHop } from '@cirque/http'
import type { ProxyHttp } from '../proxy-http.ts'
import type { Session } from '../session.ts'
import type { ChunkFilter } from './filtered-body.ts'

/** The exchange, as the response's way back sees it. */
export interface ResponseFlowOwner<Ctx> {
  readonly app: ProxyHttp<Ctx>
  readonly session: Session
  readonly ctx: Ctx
  readonly downstream: ServerSession
  readonly upstream: ClientSession | null
  readonly filterTimeoutMs: number
  /** What responses pass before the hooks; null for nothing. */
  readonly upstreamModules: HttpModules | null
  /** The final head is through the upstream's filters: true to drop this response and try again. */
  retryOnStatus(status: number): boolean
  /** The attempt is lost. */
  attemptFailed(error: ProxyError): void
  /** The exchange is lost. */
  fail(error: ProxyError): void
  /** 101 was passed on: both directions are raw from now on. */
  tunnelStarted(): void
  /** The response is complete and written. */
  responseComplete(trailers: string[] | null): void
}

/** A response's flow, as its phases see it. */
export interface ResponsePhasesFlow<Ctx> {
  readonly owner: ResponseFlowOwner<Ctx>
  /** Calls `hook` and goes on with `next`; what the upstream sends meanwhile waits. */
  invoke<T>(phase: string, hook: () => T | Promise<T>, next: (value: T) => void): void
  /** The hook `phase` threw, rejected, or gave what means nothing. */
  hookFailed(thrown: unknown, phase: string): void
  /** The body passes these from now on. */
  filterBody(filters: readonly ChunkFilter[]): void
}

const KEEP_UPGRADE = { keepUpgrade: true } as const

/** What happens to a head on its way to the client: each phase goes on with the next, down to its writing. */
export function runHeadPhases<Ctx>(
  flow: ResponsePhasesFlow<Ctx>,
  header: ResponseHeader,
  contentLength: number,
): void {
  const { app, session, ctx } = flow.owner
  removeHopByHop(header, header.status === 101 ? KEEP_UPGRADE : undefined)
  const sent = header.status
  if (app.upstreamResponseFilter === undefined) filterHead(flow, header, contentLength, sent)
  else {
    flow.invoke(
      'upstreamResponseFilter',
      () => app.upstreamResponseFilter?.(session, header, ctx),
      () => {
        if (!hasAnswered(flow, 'upstreamResponseFilter')) filterHead(flow, header, contentLength, sent)
      },
    )
  }
}

/** `sent` is the status that the upstream gave. */
function filterHead<Ctx>(
  flow: ResponsePhasesFlow<Ctx>,
  header: ResponseHeader,
  contentLength: number,
  sent: number,
): void {
  const { owner } = flow
  if (sent >= 200 && owner.retryOnStatus(header.status)) return
  const { app, session, ctx } = owner
  if (app.responseFilter === undefined) writeHead(flow, header, contentLength, sent)
  else {
    flow.invoke(
      'responseFilter',
      () => app.responseFilter?.(session, header, ctx),
      () => {
        if (!hasAnswered(flow, 'responseFilter')) writeHead(flow, header, contentLength, sent)
      },
    )
  }
}

/** True when a hook for heads has written a response of its own: then the upstream's has no place any more. */
export function hasAnswered<Ctx>(flow: ResponsePhasesFlow<Ctx>, phase: string): boolean {
  if (flow.owner.downstream.responseStatus === 0) return false
  const fault = new Error('A response was written while another is proxied')
  flow.hookFailed(fault, phase)
  return true
}

function writeHead<Ctx>(
  flow: ResponsePhasesFlow<Ctx>,
  header: ResponseHeader,
  contentLength: number,
  sent: number,
): void {
  const { owner } = flow
  const { downstream } = owner
  const { status } = header
  if (status !== sent && (sent < 200 || status < 200)) {
    // What follows on the wire depends on it: a 1xx, a final response and a tunnel are not each other.
    owner.fail(
      new ProxyError('FILTER_FAILED', 'internal', `A filter turned the status ${sent} into ${status}`),
    )
  } else if (status < 200 && status !== 101) downstream.writeInformational(header)
  else if (downstream.responseStatus !== 0 || downstream.closed) {
    // A hook answered by itself although the exchange goes on.
    owner.fail(new ProxyError('FILTER_FAILED', 'internal', 'A response was written while another is proxied'))
  } else if (status === 101) {
    // A tunnel's bytes are no body.
    downstream.writeHead(header, contentLength)
    // Over HTTP/2 a 101 that accepts no WebSocket opens no tunnel, and the exchange has ended for it.
    if (!downstream.closed) owner.tunnelStarted()
  } else {
    const filters = bodyFilters(owner)
    if (filters !== null) flow.filterBody(filters)
    if (downstream.isUpgrade) downstream.disableKeepAlive()
    downstream.writeHead(header, lengthOf(owner, header, contentLength, filters !== null))
  }
}

/** The length of the body that goes to the client, or -1: filters may have changed it, or taken the field away. */
function lengthOf<Ctx>(
  owner: ResponseFlowOwner<Ctx>,
  header: ResponseHeader,
  contentLength: number,
  isFiltered: boolean,
): number {
  const { app, session } = owner
  const { status } = header
  if (session.request.method === 'HEAD' || status === 204 || status === 304) return contentLength
  if (isFiltered) return session.keepContentLength ? declaredLength(header) : -1
  if (app.responseFilter === undefined && app.upstreamResponseFilter === undefined) return contentLength
  return contentLength >= 0 && !header.has('content-length') ? -1 : contentLength
}

function bodyFilters<Ctx>(owner: ResponseFlowOwner<Ctx>): ChunkFilter[] | null {
  const { app, session, ctx } = owner
  if (app.upstreamResponseBodyFilter === undefined && app.responseBodyFilter === undefined) return null
  const filters: ChunkFilter[] = []
  if (app.upstreamResponseBodyFilter !== undefined) {
    filters.push({
      phase: 'upstreamResponseBodyFilter',
      run: (chunk, end) => app.upstreamResponseBodyFilter?.(session, chunk, end, ctx),
    })
  }
  if (app.responseBodyFilter !== undefined) {
    filters.push({
      phase: 'responseBodyFilter',
      run: (chunk, end) => app.responseBodyFilter?.(session, chunk, end, ctx),
    })
  }
  return filters
}

/** The body is through: its trailers pass their filters, and the response is complete. */
export function runTrailerPhases<Ctx>(flow: ResponsePhasesFlow<Ctx>, trailers: string[] | null): void {
  const { owner } = flow
  const { app, session, ctx } = owner
  if (
    trailers === null ||
    (app.upstreamResponseTrailerFilter === undefined && app.responseTrailerFilter === undefined)
  ) {
    owner.responseComplete(trailers)
    return
  }
  flow.invoke(
    'upstreamResponseTrailerFilter',
    () => app.upstreamResponseTrailerFilter?.(session, trailers, ctx),
    () =>
      flow.invoke(
        'responseTrailerFilter',
        () => app.responseTrailerFilter?.(session, trailers, ctx),
        (bytes) => writeTrailers(flow, trailers, bytes ?? undefined),
      ),
  )
}

function writeTrailers<Ctx>(flow: ResponsePhasesFlow<Ctx>, trailers: string[], bytes: unknown): void {
  const { owner } = flow
  try {
    if (bytes === undefined) checkTrailers(trailers)
    else if (!Buffer.isBuffer(bytes)) {
      throw new TypeError(`A trailer filter must give a Buffer or nothing, not ${typeof bytes}`)
    }
  } catch (error) {
    flow.hookFailed(error, 'responseTrailerFilter')
    return
  }
  if (Buffer.isBuffer(bytes)) owner.downstream.writeBody(bytes, 0, bytes.length)
  owner.responseComplete(bytes === undefined ? trailers : null)
}
