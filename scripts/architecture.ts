/**
 * Which package may stand on which: the one place that says it. `scripts/test/architecture.test.ts` compares
 * it with every manifest and every import.
 *
 * A package may use what its own line allows and nothing else. Lines are ordered from the bottom up, and a line
 * only names packages above it in this list, so that a cycle cannot be written down.
 */
export interface Allowed {
  /** Folder names of sibling packages. */
  readonly siblings: readonly string[]
  /** Packages from npm; each has its reason in `docs/design/dependencies.md`. */
  readonly npm: readonly string[]
  /** Packages from npm that are built in, and so are dependencies of development only. Default none. */
  readonly inlined?: readonly string[]
}

const leaf: Allowed = { siblings: ['error'], npm: [] }

/** From the bottom to the top. */
export const architecture: ReadonlyMap<string, Allowed> = new Map<string, Allowed>([
  ['error', { siblings: [], npm: [] }],
  ['timeout', leaf],
  ['ketama', leaf],
  ['limits', leaf],
  ['hpack', { siblings: [], npm: [] }],
  // Idle connections end on the shared coarse timers: one timer for thousands of them.
  ['pool', { siblings: ['error', 'timeout'], npm: [] }],
  ['tinyufo', leaf],
  ['memory-cache', { siblings: ['error', 'timeout', 'tinyufo'], npm: ['lru-cache'] }],
  // Its states are asked, and what breaks them is counted, as everywhere else: `States` of `error`.
  ['http2', { siblings: ['error', 'hpack'], npm: [] }],
  ['http', leaf],
  [
    'core',
    {
      siblings: ['error', 'timeout', 'limits', 'pool', 'http', 'http2'],
      npm: ['undici'],
      inlined: ['yaml'],
    },
  ],
  ['cache', { siblings: ['error', 'timeout', 'tinyufo', 'memory-cache', 'http', 'core'], npm: [] }],
  ['load-balancing', { siblings: ['error', 'timeout', 'ketama', 'limits', 'http', 'core'], npm: ['undici'] }],
  ['stream-proxy', { siblings: ['error', 'timeout', 'core'], npm: [] }],
  ['proxy', { siblings: ['error', 'timeout', 'limits', 'pool', 'http', 'core', 'cache'], npm: ['undici'] }],
  ['access-log', { siblings: ['error', 'http', 'core', 'proxy'], npm: [] }],
  ['prometheus', { siblings: ['error', 'http', 'core', 'proxy'], npm: ['prom-client'] }],
  ['opentelemetry', { siblings: ['error', 'http', 'proxy'], npm: ['@opentelemetry/api'] }],
  [
    'cirque',
    {
      siblings: [
        'error',
        'timeout',
        'ketama',
        'limits',
        'pool',
        'tinyufo',
        'memory-cache',
        'http',
        'core',
        'cache',
        'load-balancing',
        'proxy',
      ],
      npm: [],
    },
  ],
])

/**
 * Finds a cycle in a graph given as node to successors.
 *
 * @returns The nodes of one cycle, first and last the same, or `undefined` when there is none.
 */
export function findCycle(graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const finished = new Set<string>()
  const trail: string[] = []
  function visit(node: string): string[] | undefined {
    const at = trail.indexOf(node)
    if (at >= 0) return [...trail.slice(at), node]
    if (finished.has(node)) return undefined
    trail.push(node)
    for (const next of graph.get(node) ?? []) {
      const cycle = visit(next)
      if (cycle !== undefined) return cycle
    }
    trail.pop()
    finished.add(node)
    return undefined
  }
  for (const node of graph.keys()) {
    const cycle = visit(node)
    if (cycle !== undefined) return cycle
  }
  return undefined
}

const STATEMENT: RegExp =
  /^(?:import|export)\s+(?:type\s+)?(?:[\w$]+\s*,?\s*)?(?:\{[^}]*\}|\*(?:\s+as\s+[\w$]+)?)?\s*from\s+'([^']+)'/gm
const BARE: RegExp = /^import\s+'([^']+)'/gm
const DYNAMIC: RegExp = /\bimport\(\s*'([^']+)'/g

/**
 * The module specifiers that a formatted source file imports, statically or with a literal `import()`.
 * Examples in docstrings do not count: their lines start with ` * `.
 */
export function importsOf(source: string): string[] {
  const specifiers = new Set<string>()
  for (const pattern of [STATEMENT, BARE]) {
    for (const match of source.matchAll(pattern)) specifiers.add(match[1] as string)
  }
  for (const line of source.split('\n')) {
    if (/^\s*(?:\*|\/\/)/.test(line)) continue
    for (const match of line.matchAll(DYNAMIC)) specifiers.add(match[1] as string)
  }
  return [...specifiers].sort()
}

/** `@cirque/http/unstable` to `@cirque/http`, `undici/types` to `undici`; `undefined` for a file or `node:`. */
export function packageOf(specifier: string): string | undefined {
  if (/^(?:\.|\/|node:|file:|data:)/.test(specifier)) return undefined
  const parts = specifier.split('/')
  return specifier.startsWith('@') ? parts.slice(0, 2).join('/') : parts[0]
}
