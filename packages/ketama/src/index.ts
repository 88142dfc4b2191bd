export {
  type Bucket,
  type BuildOptions,
  buildContinuum,
  Continuum,
  type ContinuumOptions,
  type NodesOptions,
} from './continuum.ts'
