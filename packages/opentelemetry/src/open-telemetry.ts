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
  SpanKind,
  SpanStatusCode,
  type TextMapPropagator,
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
  'route',
  'captureQuery',
]
const SCOPE = '@cirque/opentelemetry'

/** What is under way for a request. What is known at its start stays so, whatever hooks do to it. */
interface Tracing {
  readonly method: string
  readonly scheme: string
  /** Undefined without a tracer. */
  readonly span: Span | undefined
  readonly context: Context
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
  readonly #route: ((session: Session) => string | undefined) | undefined
  readonly #captureQuery: boolean
  readonly #tracings: WeakMap<Session, Tracing> = new WeakMap()

  constructor(options: OpenTelemetryOptions = {}) {
    for (const name of Object.keys(options)) {
      if (!OPTION_NAMES.includes(name)) throw new TypeError(`Unknown option "${name}" of openTelemetry`)
    }
    const { tracerProvider = trace, meterProvider = metrics, trustIncoming = true } = options
    if (typeof trustIncoming !== 'boolean' && typeof trustIncoming !== 'function') {
      throw new TypeError('trustIncoming must be true, false or a function')
    }
    if (options.route !== undefined && typeof options.route !== 'function') {
      throw new TypeError('route must be a function')
    }
    this.#tracer = tracerProvider === false ? undefined : tracerProvider.getTracer(SCOPE)
    this.#instruments = meterProvider === false ? undefined : new Instruments(meterProvider.getMeter(SCOPE))
    this.#propagator = options.propagator ?? propagation
    this.#trustIncoming = trustIncoming
    this.#route = options.route
    this.#captureQuery = options.captureQuery ?? false
  }

  /** The context of a request's span while it is under way: for spans and attributes of your own, in hooks. */
  contextOf(session: Session): Context | undefined {
    return this.#tracings.get(session)?.context
  }

  // --- called by the proxy -----------------------------------------------------------------------

  onRequestStart(session: Session): void {
    const tracing = this.#begin(session, methodOf(session))
    this.#tracings.set(session, tracing)
    this.#instruments?.activeRequests.add(1, activeAttributes(tracing))
  }

  #begin(session: Session, method: string): Tracing {
    let context = ROOT_CONTEXT
    let span: Span | undefined
    if (this.#tracer !== undefined) {
      const trusted = this.#trustIncoming
      const isTrusted = typeof trusted === 'function' ? trusted(session) === true : trusted
      if (isTrusted) context = this.#propagator.extract(context, session.request, fieldGetter)
      const attributes = serverAttributes(session, method, this.#captureQuery)
      span = this.#tracer.startSpan(nameOf(method), { kind: SpanKind.SERVER, attributes }, context)
      context = trace.setSpan(context, span)
    }
    return { method, scheme: schemeOf(session), span, context, attempt: undefined, attemptContext: context }
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
    if (tracing?.span === undefined) return
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
