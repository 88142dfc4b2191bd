import type { ProxyError } from '@cirque/error'
import type { RequestHeader } from '@cirque/http'
import type { Attempt, ProxyObserver, Session } from '@cirque/proxy'
import {
  type Attributes,
  type Context,
  type MeterProvider,
  metrics,
  propagation,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type TextMapPropagator,
  TraceFlags,
  type Tracer,
  type TracerProvider,
  trace,
} from '@opentelemetry/api'
import {
  errorType,
  fullUrl,
  methodOf,
  nameOf,
  peerAttributes,
  protocolVersionOf,
  schemeOf,
  serverAttributes,
} from './attributes.ts'
import { Instruments } from './instruments.ts'
import { fieldGetter, fieldSetter } from './propagation.ts'
import { hasContext, isPlainW3c, Unsampled } from './unsampled.ts'

/** Options of {@link openTelemetry}. */
export interface OpenTelemetryOptions {
  /** Default: the global one. False for no spans; contexts are then passed on as they came. */
  readonly tracerProvider?: TracerProvider | false
  /** Default: the global one, which must be set up before. False for no metrics. */
  readonly meterProvider?: MeterProvider | false
  /** How contexts travel. Default: the global one, which is W3C's with every SDK. */
  readonly propagator?: TextMapPropagator
  /**
   * Whether a trace that the client has begun goes on here. Default true; at the edge, where strangers could decide
   * what is sampled, false or a function: each request then begins a trace, and the client's context goes no further.
   */
  readonly trustIncoming?: boolean | ((session: Session) => boolean)
  /**
   * The share of the traces which begin here that the SDK is asked for, from 0 to 1; the sampler of the SDK decides
   * about those. The rest costs little: no spans, and upstreams are told that it is not sampled. Traces that a trusted
   * client has begun go on as it says. Default: the SDK is asked for all.
   */
  readonly sampleRate?: number
  /** The route that a request took, such as `/users/:id`: names its span, and is a label. Asked at its end. Few values. */
  readonly route?: (session: Session) => string | undefined
  /** Whether spans show queries, which may hold secrets. Default false. */
  readonly captureQuery?: boolean
}

const OPTION_NAMES: readonly string[] = [
  'tracerProvider',
  'meterProvider',
  'propagator',
  'trustIncoming',
  'sampleRate',
  'route',
  'captureQuery',
]
const SCOPE = '@cirque/opentelemetry'

/** What is under way for a request. What is known at its start stays so, whatever hooks do to it. */
interface Tracing {
  readonly method: string
  /** Known where there are metrics. */
  readonly scheme: string
  /** Undefined without a tracer, and for what the SDK was not asked for. */
  readonly span: Span | undefined
  readonly context: Context
  /** For what the SDK was not asked for, unless the client's own context goes on as it came. */
  readonly unsampled: Unsampled | undefined
  attempt: Span | undefined
  attemptContext: Context
}

/**
 * Traces and metrics of proxies: an observer for the option `observers`. A span per request and, if the sampler takes
 * that, per attempt, by the stable semantic conventions for HTTP. It stands on the API alone: without an SDK it does
 * nothing.
 *
 * @throws {TypeError} If an option is unknown or wrong.
 * @example
 * const telemetry = openTelemetry()
 * const proxy = httpProxyService(server.configuration, app, { observers: [telemetry] })
 */
export function openTelemetry(options: OpenTelemetryOptions = {}): OpenTelemetry {
  return new OpenTelemetry(options)
}

/** See {@link openTelemetry}. */
export class OpenTelemetry implements ProxyObserver {
  readonly #tracer: Tracer | undefined
  readonly #instruments: Instruments | undefined
  readonly #propagator: Pick<TextMapPropagator, 'inject' | 'extract' | 'fields'>
  readonly #trustIncoming: boolean | ((session: Session) => boolean)
  readonly #sampleRate: number
  readonly #route: ((session: Session) => string | undefined) | undefined
  readonly #captureQuery: boolean
  readonly #tracings: WeakMap<Session, Tracing> = new WeakMap()

  constructor(options: OpenTelemetryOptions = {}) {
    if (typeof options !== 'object' || options === null || Array.isArray(options)) {
      throw new TypeError(`The options of openTelemetry must be an object, received ${String(options)}`)
    }
    for (const name of Object.keys(options)) {
      if (!OPTION_NAMES.includes(name)) throw new TypeError(`Unknown option "${name}" of openTelemetry`)
    }
    const { tracerProvider = trace, meterProvider = metrics, trustIncoming = true } = options
    const { sampleRate = 1, captureQuery = false } = options
    if (tracerProvider !== false) checkMethod('tracerProvider', tracerProvider, 'getTracer')
    if (meterProvider !== false) checkMethod('meterProvider', meterProvider, 'getMeter')
    if (options.propagator !== undefined) checkMethod('propagator', options.propagator, 'inject')
    if (typeof trustIncoming !== 'boolean' && typeof trustIncoming !== 'function') {
      throw new TypeError('trustIncoming must be true, false or a function')
    }
    if (typeof sampleRate !== 'number' || !(sampleRate >= 0 && sampleRate <= 1)) {
      throw new RangeError(`sampleRate must be a number from 0 to 1, received ${String(sampleRate)}`)
    }
    if (typeof captureQuery !== 'boolean') {
      throw new TypeError(`captureQuery must be true or false, received ${String(captureQuery)}`)
    }
    if (options.route !== undefined && typeof options.route !== 'function') {
      throw new TypeError('route must be a function')
    }
    this.#tracer = tracerProvider === false ? undefined : tracerProvider.getTracer(SCOPE)
    this.#instruments = meterProvider === false ? undefined : new Instruments(meterProvider.getMeter(SCOPE))
    this.#propagator = options.propagator ?? propagation
    this.#trustIncoming = trustIncoming
    this.#route = options.route
    this.#sampleRate = sampleRate
    this.#captureQuery = captureQuery
  }

  /** The context of a request's span while it is under way: for spans and attributes of your own, in hooks. */
  contextOf(session: Session): Context | undefined {
    const tracing = this.#tracings.get(session)
    return tracing?.unsampled?.context ?? tracing?.context
  }

  // --- called by the proxy -----------------------------------------------------------------------

  onRequestStart(session: Session): void {
    const tracing = this.#begin(session, methodOf(session))
    this.#tracings.set(session, tracing)
    this.#instruments?.activeRequests.add(1, activeAttributes(tracing))
  }

  #begin(session: Session, method: string): Tracing {
    const scheme = this.#instruments === undefined ? '' : schemeOf(session)
    if (this.#tracer === undefined) return tracingOf(method, scheme, undefined, ROOT_CONTEXT, undefined)
    const trusted = this.#trustIncoming
    const isTrusted = typeof trusted === 'function' ? trusted(session) === true : trusted
    let context = ROOT_CONTEXT
    if (this.#sampleRate === 1) {
      if (isTrusted) context = this.#propagator.extract(context, session.request, fieldGetter)
    } else {
      let parent: SpanContext | undefined
      if (isTrusted && hasContext(session, this.#propagator.fields())) {
        context = this.#propagator.extract(context, session.request, fieldGetter)
        parent = trace.getSpanContext(context)
      }
      if (parent === undefined) {
        if (Math.random() >= this.#sampleRate) {
          return tracingOf(method, scheme, undefined, context, new Unsampled())
        }
      } else if ((parent.traceFlags & TraceFlags.SAMPLED) === 0) {
        return tracingOf(method, scheme, undefined, context, undefined)
      }
    }
    const attributes = serverAttributes(session, method, this.#captureQuery)
    const span = this.#tracer.startSpan(nameOf(method), { kind: SpanKind.SERVER, attributes }, context)
    return tracingOf(method, scheme, span, trace.setSpan(context, span), undefined)
  }

  onAttemptStart(session: Session): void {
    const tracing = this.#tracings.get(session)
    // What is not recorded has no parts: the upstream gets the request's context, which says that it is not sampled.
    if (this.#tracer === undefined || tracing?.span?.isRecording() !== true) return
    const { method } = tracing
    const attributes: Attributes = { 'http.request.method': method }
    const resends = session.record.attempts.length - 1
    if (resends > 0) attributes['http.request.resend_count'] = resends
    tracing.attempt = this.#tracer.startSpan(
      nameOf(method),
      { kind: SpanKind.CLIENT, attributes },
      tracing.context,
    )
    tracing.attemptContext = trace.setSpan(tracing.context, tracing.attempt)
  }

  onUpstreamRequest(session: Session, _attempt: Attempt, request: RequestHeader): void {
    const tracing = this.#tracings.get(session)
    if (tracing === undefined) return
    const { span, unsampled } = tracing
    if (unsampled !== undefined) {
      const fields = this.#propagator.fields()
      unsampled.inject(request, this.#propagator, fields, isPlainW3c(fields))
    }
    if (span === undefined) return
    // What the client sent is the parent's context, or a stranger's.
    for (const field of this.#propagator.fields()) request.removeHeader(field)
    this.#propagator.inject(tracing.attemptContext, request, fieldSetter)
  }

  onAttemptEnd(session: Session, attempt: Attempt): void {
    const tracing = this.#tracings.get(session)
    if (tracing === undefined || (tracing.attempt === undefined && this.#instruments === undefined)) return
    const { error, status, startedAt, endedAt } = attempt
    const failure = errorType(error?.code, status, 400)
    const attributes = peerAttributes(attempt)
    if (status > 0) attributes['http.response.status_code'] = status
    if (failure !== undefined) attributes['error.type'] = failure
    if (endedAt > 0 && this.#instruments !== undefined) {
      this.#instruments.clientDuration.record((endedAt - startedAt) / 1000, {
        ...attributes,
        'http.request.method': tracing.method,
      })
    }
    const span = tracing.attempt
    if (span === undefined) return
    tracing.attempt = undefined
    tracing.attemptContext = tracing.context
    if (span.isRecording()) {
      span.setAttributes({
        ...attributes,
        'url.full': fullUrl(session, attempt),
        'cirque.connection.reused': attempt.reused,
      })
      if (failure !== undefined) {
        // A client that left cut the attempt short: no failure of the upstream.
        const isFault = error === undefined || error.source !== 'downstream'
        if (isFault) span.setStatus({ code: SpanStatusCode.ERROR })
      }
    }
    span.end()
  }

  onRequestEnd(session: Session, error: ProxyError | undefined): void {
    const tracing = this.#tracings.get(session)
    if (tracing === undefined) return
    this.#tracings.delete(session)
    const { span, method } = tracing
    const route = this.#askRoute(session)
    this.#recordEnd(session, error, tracing, route.name)
    if (span !== undefined) {
      describeEnd(span, session, error, method, route.name)
      span.end()
    }
    if (route.failure !== undefined) throw route.failure.thrown
  }

  /** A route that cannot be told must not leave a span open: what `route` throws is thrown at the end. */
  #askRoute(session: Session): { name: string | undefined; failure: { thrown: unknown } | undefined } {
    try {
      return { name: this.#route?.(session), failure: undefined }
    } catch (thrown) {
      return { name: undefined, failure: { thrown } }
    }
  }

  #recordEnd(
    session: Session,
    error: ProxyError | undefined,
    tracing: Tracing,
    route: string | undefined,
  ): void {
    if (this.#instruments === undefined) return
    this.#instruments.activeRequests.add(-1, activeAttributes(tracing))
    const { startedAt, endedAt } = session.record
    if (endedAt === 0) return
    const status = session.downstream.responseStatus
    const attributes: Attributes = {
      ...activeAttributes(tracing),
      'network.protocol.version': protocolVersionOf(session),
    }
    const failure = errorType(error?.code, status, 500)
    if (status > 0) attributes['http.response.status_code'] = status
    if (failure !== undefined) attributes['error.type'] = failure
    if (route !== undefined) attributes['http.route'] = route
    this.#instruments.serverDuration.record((endedAt - startedAt) / 1000, attributes)
  }
}

function checkMethod(option: string, value: unknown, method: string): void {
  if (typeof (value as Record<string, unknown> | null)?.[method] === 'function') return
  throw new TypeError(`${option} must have ${method}(), received ${String(value)}`)
}

function tracingOf(
  method: string,
  scheme: string,
  span: Span | undefined,
  context: Context,
  unsampled: Unsampled | undefined,
): Tracing {
  return { method, scheme, span, context, unsampled, attempt: undefined, attemptContext: context }
}

function describeEnd(
  span: Span,
  session: Session,
  error: ProxyError | undefined,
  method: string,
  route: string | undefined,
): void {
  if (!span.isRecording()) return
  const status = session.downstream.responseStatus
  const failure = errorType(error?.code, status, 500)
  if (status > 0) span.setAttribute('http.response.status_code', status)
  if (route !== undefined) {
    span.setAttribute('http.route', route)
    span.updateName(`${nameOf(method)} ${route}`)
  }
  if (failure === undefined) return
  span.setAttribute('error.type', failure)
  if (error !== undefined) span.setAttribute('cirque.error.source', error.source)
  if (status >= 500 || (error !== undefined && error.source !== 'downstream')) {
    span.setStatus({ code: SpanStatusCode.ERROR })
  }
}

function activeAttributes({ method, scheme }: Tracing): Attributes {
  return { 'http.request.method': method, 'url.scheme': scheme }
}
