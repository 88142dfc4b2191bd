import type { Options } from 'tsup'
import { library } from '../../tsup.base.ts'

const config: Options = { ...library, entry: ['src/main.ts'] }
export default config
