import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { type Document, isMap, isScalar, LineCounter, parseDocument, visit } from 'yaml'
import { nearestName } from '../nearest-name.ts'
import { requireOptions } from '../option-checks.ts'
import { ConfigurationError, type ConfigurationIssue } from './configuration-error.ts'
import { CONFIGURATION_KEYS, type ConfigurationKey, REFUSED_KEYS } from './configuration-keys.ts'
import type { ConfigurationInput, ServerConfiguration } from './server-configuration.ts'

/** Largest configuration text that is read, in bytes. */
export const CONFIGURATION_BYTES_MAX: number = 1_048_576

type Values = Map<keyof ServerConfiguration, unknown>
type Add = (key: string, message: string, node?: unknown, suggestion?: string) => void

/**
 * Makes a configuration from an object with camelCase names.
 *
 * @throws {ConfigurationError} With every mistake in it: unknown name, wrong type, impossible value.
 * @example
 * createConfiguration({ gracePeriodSeconds: 30, pidFile: '/run/proxy.pid' })
 */
export function createConfiguration(input: ConfigurationInput = {}): ServerConfiguration {
  requireOptions(input, 'the configuration')
  const issues: ConfigurationIssue[] = []
  const values: Values = new Map()
  const add: Add = (key, message, _node, suggestion) => {
    issues.push({ key, message, line: undefined, column: undefined, suggestion })
  }
  for (const [name, value] of Object.entries(input)) {
    const found = CONFIGURATION_KEYS.find((key) => key.name === name)
    if (found === undefined) addUnknown(add, name, 'name', undefined)
    else if (value !== undefined) check(values, found, name, value, undefined, add)
  }
  checkTogether(values, undefined, (key) => key.name, add)
  if (issues.length > 0) throw new ConfigurationError(undefined, issues)
  return complete(values)
}

/**
 * Parses YAML, and thereby JSON, with the file's snake_case keys.
 *
 * @param text - At most {@link CONFIGURATION_BYTES_MAX} bytes.
 * @param file - Shown in errors.
 * @param base - What the text does not set comes from here, instead of the defaults.
 * @throws {ConfigurationError} With every mistake in it, each with line and column.
 */
export function parseConfiguration(
  text: string,
  file: string = 'configuration',
  base?: ServerConfiguration,
): ServerConfiguration {
  const bytes = Buffer.byteLength(text)
  if (bytes > CONFIGURATION_BYTES_MAX) {
    const message = `it has ${bytes} bytes, and at most ${CONFIGURATION_BYTES_MAX} are read`
    throw new ConfigurationError(file, [{ key: '', message, line: 1, column: 1, suggestion: undefined }])
  }
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, strict: true })
  const issues: ConfigurationIssue[] = []
  const addAt = (key: string, message: string, offset: number, suggestion?: string) => {
    const { line, col } = lines.linePos(offset)
    issues.push({ key, message, line: Math.max(line, 1), column: Math.max(col, 1), suggestion })
  }
  // A warning of the parser is a tag or directive it cannot honour: refused like an error.
  for (const error of [...document.errors, ...document.warnings]) addAt('', error.message, error.pos[0])
  // A map or a list as a key would become text that nobody wrote.
  visit(document, {
    Pair: (_key, { key }) => {
      if (key !== null && !isScalar(key)) addAt('', 'expected text as a key', offsetOf(key))
    },
  })
  const values: Values = new Map()
  if (issues.length === 0) {
    readDocument(document, values, base, (key, message, node, suggestion) => {
      addAt(key, message, offsetOf(node), suggestion)
    })
  }
  if (issues.length > 0) {
    issues.sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0))
    throw new ConfigurationError(file, issues)
  }
  return complete(values, base)
}

/**
 * Reads and parses a configuration file, synchronously: it is meant for start-up.
 *
 * @throws {ConfigurationError} Also if the file cannot be read.
 */
export function loadConfiguration(file: string, base?: ServerConfiguration): ServerConfiguration {
  return parseConfiguration(readText(file), file, base)
}

function readText(file: string): string {
  const fail = (message: string) =>
    new ConfigurationError(file, [
      { key: '', message, line: undefined, column: undefined, suggestion: undefined },
    ])
  let descriptor: number | undefined
  try {
    descriptor = openSync(file, 'r')
    const { size } = fstatSync(descriptor)
    if (size > CONFIGURATION_BYTES_MAX) {
      throw fail(`it has ${size} bytes, and at most ${CONFIGURATION_BYTES_MAX} are read`)
    }
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(descriptor))
  } catch (error) {
    if (error instanceof ConfigurationError) throw error
    throw fail(`cannot be read: ${(error as Error).message}`)
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}

function readDocument(
  document: Document.Parsed,
  values: Values,
  base: ServerConfiguration | undefined,
  add: Add,
): void {
  const root = document.contents
  if (root === null || (isScalar(root) && root.value === null)) return // an empty file is all defaults
  if (!isMap(root)) {
    add('', 'expected "key: value" lines at the top level', root)
    return
  }
  const nodes = new Map<keyof ServerConfiguration, unknown>()
  for (const pair of root.items) {
    const name = isScalar(pair.key) ? String(pair.key.value) : String(pair.key)
    const found = CONFIGURATION_KEYS.find((key) => key.fileName === name)
    if (found === undefined) {
      addUnknown(add, name, 'fileName', pair.key)
      continue
    }
    nodes.set(found.name, pair.key)
    let value: unknown
    try {
      value =
        isScalar(pair.value) || pair.value === null ? (pair.value?.value ?? null) : pair.value.toJS(document)
    } catch (error) {
      add(name, (error as Error).message, pair.value ?? pair.key) // an unknown alias, or too many
      continue
    }
    check(values, found, name, value, pair.value ?? pair.key, add)
  }
  checkTogether(
    values,
    base,
    (key) => key.fileName,
    (key, message) => {
      const found = CONFIGURATION_KEYS.find((candidate) => candidate.fileName === key)
      add(key, message, found === undefined ? root : nodes.get(found.name))
    },
  )
}

function check(
  values: Values,
  key: ConfigurationKey,
  shown: string,
  value: unknown,
  node: unknown,
  add: Add,
): void {
  try {
    values.set(key.name, key.check(value))
  } catch (error) {
    add(shown, (error as Error).message, node)
  }
}

function checkTogether(
  values: Values,
  base: ServerConfiguration | undefined,
  nameOf: (key: ConfigurationKey) => string,
  add: Add,
): void {
  const shown = (name: keyof ServerConfiguration) => {
    const found = CONFIGURATION_KEYS.find((key) => key.name === name)
    return found === undefined ? name : nameOf(found)
  }
  if (values.get('user') !== undefined && (values.get('group') ?? base?.group) === undefined) {
    add(shown('user'), `needs "${shown('group')}" as well, or the process would keep the groups it has`)
  }
}

function addUnknown(add: Add, name: string, style: 'name' | 'fileName', node: unknown): void {
  const reason = Object.hasOwn(REFUSED_KEYS, name) ? REFUSED_KEYS[name] : undefined
  if (reason !== undefined) {
    add(name, `not supported: ${reason}`, node)
    return
  }
  const names = CONFIGURATION_KEYS.map((key) => key[style])
  const own = style === 'fileName' ? '; keys of your own go under "app"' : ''
  const suggestion = nearestName(name, names)
  add(name, `unknown key${suggestion === undefined ? own : ''}`, node, suggestion)
}

function complete(values: Values, base?: ServerConfiguration): ServerConfiguration {
  const entries = CONFIGURATION_KEYS.map((key) => [
    key.name,
    values.has(key.name) ? values.get(key.name) : base === undefined ? key.fallback : base[key.name],
  ])
  return Object.freeze(Object.fromEntries(entries)) as ServerConfiguration
}

function offsetOf(node: unknown): number {
  const range = (node as { range?: readonly number[] | null } | null | undefined)?.range
  return range?.[0] ?? 0
}
