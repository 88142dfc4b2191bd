import { inspect } from 'node:util'
import type { ConfigurationInput } from '../configuration/server-configuration.ts'
import type { Logger } from '../logger.ts'
import { parseServerArguments, type ServerArguments } from './server-arguments.ts'

/** Options of a {@link Server}. */
export interface ServerOptions {
  /**
   * The command line: strings to parse, what `parseServerArguments` returned, or false for none. Default:
   * `process.argv` after the script, unless `configuration` is given; then none.
   */
  readonly argv?: readonly string[] | ServerArguments | false
  /** Settings in code. A file named by `-c` is laid over them. */
  readonly configuration?: ConfigurationInput
  /** Where to log. Default: `error_log` if the configuration names one, or stderr. */
  readonly logger?: Logger
  /** The module that worker threads load; it has to build this server too. Default: the program's main script. */
  readonly entry?: string | URL
}

/** Options of {@link Server.run}. */
export interface RunOptions {
  /** Handle SIGTERM, SIGINT, SIGQUIT, SIGHUP and SIGUSR1 until `run` settles. Default false. */
  readonly signals?: boolean
  /** Abort it to shut down: gracefully, or fast if its reason is the string `'fast'`. */
  readonly signal?: AbortSignal
}

const NO_ARGUMENTS: ServerArguments = { conf: undefined, daemon: false, test: false, upgrade: false }

/** What the command line says, as the options have it. */
export function readArguments(options: ServerOptions): ServerArguments {
  const { argv } = options
  if (argv === false) return NO_ARGUMENTS
  if (argv === undefined) {
    if (options.configuration !== undefined) return NO_ARGUMENTS
    return parseServerArguments(process.argv.slice(2)).options
  }
  if (typeof argv !== 'object' || argv === null) {
    throw new TypeError(`Expected argv of the server to be strings or false, received ${inspect(argv)}`)
  }
  return isStrings(argv) ? parseServerArguments(argv).options : argv
}

function isStrings(argv: readonly string[] | ServerArguments): argv is readonly string[] {
  return Array.isArray(argv)
}
