export type { Evicted, TinyUfoOptions } from './tiny-ufo.ts'
export { TinyUfo } from './tiny-ufo.ts'
