import type { CasePlan } from './cases.ts'
import type { BenchOptions } from './options.ts'

/** Below this an upload says no more than a download does. */
const UPLOAD_BYTES_FROM = 65_536

/**
 * All combinations that say something: several threads, and new connections without TLS, for cleartext HTTP/1 alone; new
 * connections with TLS for the smallest body only, as it is the handshake that costs; gRPC with the smallest message;
 * uploads of large bodies.
 */
export function planCases(options: BenchOptions): CasePlan[] {
  const smallest = Math.min(...options.bodies)
  const plans: CasePlan[] = []
  for (const protocol of options.protocols) {
    const isPlain = protocol === 'h1'
    for (const threads of options.threads) {
      for (const bodyBytes of options.bodies) {
        for (const connections of isPlain ? options.connections.plain : options.connections.other) {
          for (const mode of options.modes) {
            const plan = { protocol, threads, bodyBytes, connections, mode }
            if (isPlain ? isWorthItPlain(plan) : threads === 1 && isWorthIt(plan, smallest)) plans.push(plan)
          }
        }
      }
    }
  }
  return plans
}

function isWorthItPlain({ bodyBytes, mode }: CasePlan): boolean {
  return mode === 'upload' ? bodyBytes >= UPLOAD_BYTES_FROM : mode !== 'resume'
}

function isWorthIt({ protocol, bodyBytes, mode }: CasePlan, smallest: number): boolean {
  if (protocol === 'grpc') return mode === 'keep-alive' && bodyBytes === smallest
  if (mode === 'upload') return bodyBytes >= UPLOAD_BYTES_FROM
  return mode === 'keep-alive' || (protocol === 'tls' && bodyBytes === smallest)
}
