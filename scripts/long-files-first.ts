import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Test files that take ten seconds and more, by the end of their paths, the longest first. */
const LONG_FILES: readonly string[] = [
  'soak/test/soak.test.ts',
  'proxy/test/attack/exhaustion.test.ts',
  'bench/test/smoke.test.ts',
  'core/test/upgrade.test.ts',
  'core/test/upgrade-faults.test.ts',
  'proxy/test/attack/faults.test.ts',
  'proxy/test/attack/exhaustion-http2.test.ts',
  'core/test/threads.test.ts',
  'proxy/test/attack/desync-http2.test.ts',
  'core/test/threads-reuse-port.test.ts',
  'gatekeeper/test/gatekeeper.test.ts',
]

function rank({ moduleId }: TestSpecification): number {
  const found = LONG_FILES.findIndex((path) => moduleId.endsWith(path))
  return found === -1 ? LONG_FILES.length : found
}

/** Starts the long files before all others, so that none of them runs on alone when all others are done. */
export class LongFilesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b))
  }
}
