import { fileURLToPath } from 'node:url'
import type { Options } from 'tsup'
import { library } from '../../tsup.base.ts'

/**
 * yaml becomes part of the build. As a dependency it is some sixty files, which took a third of the time that the
 * package needs to load, in every process and every worker thread. Its build for browsers consists of modules, of which
 * only those that are used get in.
 */
const yaml: string = fileURLToPath(import.meta.resolve('yaml')).replace('/dist/', '/browser/dist/')

const options: Options = {
  ...library,
  noExternal: ['yaml'],
  esbuildOptions(build) {
    build.alias = { yaml }
  },
}

export { options as default }
