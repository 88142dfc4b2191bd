import type { Attributes, Histogram, Meter, UpDownCounter } from '@opentelemetry/api'

/** As the semantic conventions advise, in seconds. */
const DURATION_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

/** The metrics of the conventions for HTTP servers and clients; a proxy is both. */
export class Instruments {
  readonly serverDuration: Histogram<Attributes>
  readonly clientDuration: Histogram<Attributes>
  readonly activeRequests: UpDownCounter<Attributes>

  constructor(meter: Meter) {
    const options = { unit: 's', advice: { explicitBucketBoundaries: DURATION_BUCKETS } }
    this.serverDuration = meter.createHistogram('http.server.request.duration', {
      ...options,
      description: 'Duration of requests, from their head to the end of the response',
    })
    this.clientDuration = meter.createHistogram('http.client.request.duration', {
      ...options,
      description: 'Duration of attempts at upstreams',
    })
    this.activeRequests = meter.createUpDownCounter('http.server.active_requests', {
      unit: '{request}',
      description: 'Requests under way',
    })
  }
}
