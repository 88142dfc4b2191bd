import type { Options } from 'tsup'

export const library: Options = {
  entry: ['src/index.ts'],
  format: ['esm'],
  target: 'node24',
  platform: 'node',
  sourcemap: true,
  clean: true,
  dts: false,
  silent: true,
}
