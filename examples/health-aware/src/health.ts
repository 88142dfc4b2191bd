import { type BalancerEvent, HttpHealthCheck } from '@cirque/load-balancing'

/**
 * An upstream is well if it answers 200 and its JSON says `"status": "ok"`: one that is alive but not ready
 * says something else. One slip is forgiven, and so is one lucky answer.
 */
export function statusCheck(path: string): HttpHealthCheck {
  return new HttpHealthCheck({
    path,
    // What is no JSON throws, which is a failure too.
    validator: ({ status, body }) => status === 200 && JSON.parse(body.toString())?.status === 'ok',
    connectTimeoutMs: 500,
    readTimeoutMs: 500,
    consecutiveFailure: 2,
    consecutiveSuccess: 2,
  })
}

/** What an operator wants to read of an event. */
export function describeEvent(event: BalancerEvent): string {
  switch (event.type) {
    case 'healthy':
      return `${event.backend} is well again`
    case 'unhealthy':
      return `${event.backend} is unwell: ${event.error instanceof Error ? event.error.message : event.error}`
    default:
      return event.type
  }
}
