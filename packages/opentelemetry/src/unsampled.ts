import { randomFillSync } from 'node:crypto'
import type { RequestHeader } from '@cirque/http'
import type { Session } from '@cirque/proxy'
import { type Context, ROOT_CONTEXT, type TextMapPropagator, TraceFlags, trace } from '@opentelemetry/api'
import { fieldSetter } from './propagation.ts'

type Propagator = Pick<TextMapPropagator, 'inject' | 'fields'>

/** Fields that say nothing of a new trace, or what `traceparent` says. */
const W3C_FIELDS: ReadonlySet<string> = new Set(['traceparent', 'tracestate', 'baggage'])

/**
 * What an upstream is told of a request that nobody records: whose trace it is, and that it is not sampled, so that
 * it does not begin a sampled one of its own. Needs no span, and no context unless somebody asks for it.
 */
export class Unsampled {
  readonly #traceparent: string
  #context: Context | undefined

  constructor() {
    const ids = nextIds()
    // Version, trace, span, flags (W3C Trace Context §3.2.2).
    this.#traceparent = `00-${ids.slice(0, 32)}-${ids.slice(32)}-00`
  }

  get context(): Context {
    this.#context ??= trace.setSpanContext(ROOT_CONTEXT, {
      traceId: this.#traceparent.slice(3, 35),
      spanId: this.#traceparent.slice(36, 52),
      traceFlags: TraceFlags.NONE,
    })
    return this.#context
  }

  /** Writes it in place of what the client sent. */
  inject(request: RequestHeader, propagator: Propagator, fields: readonly string[], isPlain: boolean): void {
    for (const field of fields) request.removeHeader(field)
    if (isPlain) request.insertHeader('traceparent', this.#traceparent)
    else propagator.inject(this.context, request, fieldSetter)
  }
}

/** Whether a propagator writes nothing of a new trace but `traceparent`. */
export function isPlainW3c(fields: readonly string[]): boolean {
  return fields.includes('traceparent') && fields.every((field) => W3C_FIELDS.has(field))
}

/** Whether a client has sent a context, as far as can be told without reading it. */
export function hasContext({ request }: Session, fields: readonly string[]): boolean {
  return fields.some((field) => request.has(field))
}

const ID_BYTES = 24
const IDS_AT_ONCE = 128
const randomBytes = Buffer.alloc(ID_BYTES * IDS_AT_ONCE)
let randomHex = ''
let hexAt = 0

/** The ids of a trace and a span: random bytes in hexadecimal, made for many at once. All zeros never come. */
function nextIds(): string {
  if (hexAt === randomHex.length) {
    randomHex = randomFillSync(randomBytes).toString('hex')
    hexAt = 0
  }
  const ids = randomHex.slice(hexAt, hexAt + ID_BYTES * 2)
  hexAt += ID_BYTES * 2
  return ids
}
