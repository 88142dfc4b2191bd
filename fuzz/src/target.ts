import type fc from 'fast-check'

/** Something that reads bytes of a peer or an operator, with what must be true of it. */
export interface Target {
  readonly name: string
  /** Inputs to begin with, besides the corpus. */
  readonly seeds: readonly (string | Buffer)[]
  /** Words of the format that the code itself does not hold. */
  readonly words?: readonly string[]
  /** Well-formed and nearly well-formed inputs. */
  readonly inputs: fc.Arbitrary<Buffer>
  /** Longest input, in bytes. Default 4,096. */
  readonly bytesMax?: number
  /** Reads `input`, and throws if anything is not as it must be: a finding. A refusal is none. */
  run(input: Buffer): void | Promise<void>
}

/** What every target has: the module that holds it, and the folders below `packages/` whose coverage counts. */
export const TARGETS: ReadonlyMap<string, readonly string[]> = new Map([
  ['head', ['http/src/']],
  ['messages', ['http/src/']],
  ['responses', ['http/src/']],
  ['chunked', ['http/src/']],
  ['serializer', ['http/src/']],
  ['hop-by-hop', ['http/src/']],
  ['http-date', ['http/src/']],
  ['negotiation', ['core/src/downstream/conditional.ts', 'core/src/modules/content-coding.ts']],
  ['grpc-web', ['core/src/modules/grpc-web']],
  ['address', ['core/src/address.ts', 'http/src/host.ts']],
  ['proxy-protocol', ['core/src/proxy-protocol/']],
  ['configuration', ['core/src/configuration', 'core/src/nearest-name.ts']],
  ['proxy-tlvs', ['core/src/proxy-protocol/tlv-facts.ts', 'core/src/proxy-protocol/read-header.ts']],
  ['client-hello', ['stream-proxy/src/client-hello.ts', 'core/src/tls/client-hello.ts']],
  ['forwarded', ['proxy/src/forwarding.ts']],
  ['access-log', ['access-log/src/']],
  ['sticky', ['load-balancing/src/sticky/']],
  ['hpack', ['hpack/src/']],
  ['http2', ['http2/src/']],
])

/** Loads a target. Instrument first. */
export async function loadTarget(name: string): Promise<Target> {
  const { target } = (await import(`./targets/${name}.ts`)) as { target: Target }
  return target
}
