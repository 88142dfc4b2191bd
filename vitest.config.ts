import { readdirSync } from 'node:fs'
import { defaultServerConditions } from 'vite'
import type { ViteUserConfig } from 'vitest/config'

// Tests run against src: the "@cirque/source" export condition needs no build.
const conditions = ['@cirque/source', ...defaultServerConditions]

const config: ViteUserConfig = {
  ssr: { resolve: { conditions } },
  test: {
    projects: readdirSync(new URL('packages', import.meta.url)).map((name) => ({
      extends: true,
      test: { name, root: `packages/${name}`, environment: 'node' },
    })),
    include: ['test/**/*.test.ts'],
    benchmark: { include: ['bench/**/*.bench.ts'] },
    coverage: {
      provider: 'v8',
      include: ['packages/*/src/**/*.ts'],
      reporter: ['text', 'lcovonly'],
      thresholds: { lines: 80 },
    },
  },
}
export default config
