import { nearestName } from '../nearest-name.ts'

/** What the command line said. */
export interface ServerArguments {
  /** `-c`, `--conf PATH`: the configuration file. */
  readonly conf: string | undefined
  /** `-d`, `--daemon`: run in the background. */
  readonly daemon: boolean
  /** `--doctor`: look for what an operator should change, and stop. Absent is false. */
  readonly doctor?: boolean
  /** `-t`, `--test`: check the configuration and stop. */
  readonly test: boolean
  /** `-u`, `--upgrade`: take over from a running server. */
  readonly upgrade: boolean
}

/** Options of {@link parseServerArguments}. */
export interface ParseServerArgumentsOptions {
  /** Return what is not ours in `rest` instead of refusing it: for programs with flags of their own. Default false. */
  readonly allowUnknown?: boolean
}

/** What {@link parseServerArguments} returns. */
export interface ParsedServerArguments {
  readonly options: ServerArguments
  /** What is not ours, in order. Everything after `--` is here, and `--` itself is dropped. */
  readonly rest: string[]
}

/** A command line that cannot be understood. It has no stack frames: the mistake is not in the program. */
export class ServerArgumentsError extends Error {
  override readonly name: string = 'ServerArgumentsError'

  constructor(message: string) {
    super(message)
    this.stack = `${this.name}: ${message}`
  }
}

const USAGE: string = 'Usage: [-c, --conf PATH] [-d, --daemon] [-t, --test] [-u, --upgrade] [--doctor]'
const LONG: Readonly<Record<string, string>> = {
  '--conf': 'c',
  '--daemon': 'd',
  '--doctor': 'D',
  '--test': 't',
  '--upgrade': 'u',
}

/**
 * Parses a server's command line: `-c PATH`, `--conf=PATH`, `-d`, `-t`, `-u`, also bundled as `-dt`, and `--doctor`.
 *
 * @param argv - Without the runtime and the script: `process.argv.slice(2)`.
 * @throws {ServerArgumentsError} If a flag is unknown (unless `allowUnknown`), repeated with another value,
 * lacks its value, or has one it does not take.
 * @example
 * const { options, rest } = parseServerArguments(process.argv.slice(2), { allowUnknown: true })
 * const server = new Server({ argv: options })
 */
export function parseServerArguments(
  argv: readonly string[],
  options: ParseServerArgumentsOptions = {},
): ParsedServerArguments {
  const rest: string[] = []
  const flags = new Set<string>()
  let conf: string | undefined
  for (let index = 0; index < argv.length; index += 1) {
    const argument = argv[index] ?? ''
    if (argument === '--') {
      rest.push(...argv.slice(index + 1))
      break
    }
    const flag = readFlag(argument)
    if (flag === undefined) {
      rest.push(argument)
      continue
    }
    for (const letter of flag.letters) {
      if (letter !== 'c') {
        flags.add(letter)
        continue
      }
      let value = flag.value
      if (value === undefined) {
        index += 1
        value = argv[index]
        if (value?.startsWith('-') === true) value = undefined // a forgotten path, not one named "-t"
      }
      if (value === undefined || value === '')
        throw new ServerArgumentsError(`${argument} needs a path. ${USAGE}`)
      if (conf !== undefined && conf !== value) {
        throw new ServerArgumentsError(`Two configuration files were given: "${conf}" and "${value}"`)
      }
      conf = value
    }
  }
  if (options.allowUnknown !== true && rest[0] !== undefined) throw unknown(rest[0])
  return {
    options: {
      conf,
      daemon: flags.has('d'),
      doctor: flags.has('D'),
      test: flags.has('t'),
      upgrade: flags.has('u'),
    },
    rest,
  }
}

/** Reads `--name`, `--name=value`, `-x` and bundles like `-dt`; `undefined` if any part of it is not ours. */
function readFlag(argument: string): { letters: string; value: string | undefined } | undefined {
  if (argument.startsWith('--')) {
    const equals = argument.indexOf('=')
    const letters = LONG[equals === -1 ? argument : argument.slice(0, equals)]
    if (letters === undefined) return undefined
    const value = equals === -1 ? undefined : argument.slice(equals + 1)
    if (value !== undefined && letters !== 'c') throw new ServerArgumentsError(`"${argument}" takes no value`)
    return { letters, value }
  }
  if (!/^-[cdtu]+$/.test(argument)) return undefined
  if (argument.slice(1, -1).includes('c')) return undefined // -c takes a value, so it comes last in a bundle
  return { letters: argument.slice(1), value: undefined }
}

function unknown(argument: string): ServerArgumentsError {
  const kind = argument.startsWith('-') ? 'flag' : 'argument'
  const near = argument.startsWith('--') ? nearestName(argument, Object.keys(LONG)) : undefined
  const hint = near === undefined ? '.' : `; did you mean "${near}"?`
  return new ServerArgumentsError(`Unknown ${kind} ${JSON.stringify(argument.slice(0, 100))}${hint} ${USAGE}`)
}
