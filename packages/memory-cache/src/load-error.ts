/**
 * Why a read-through cache has no answer. Documented, never renamed or reused.
 *
 * - `CACHE_LOAD_FAILED`: the loader threw, rejected or returned something it must not; its error is the `cause`.
 * - `CACHE_LOAD_TIMEOUT`: the loader took longer than `loadTimeoutMs`.
 * - `CACHE_LOADS_FULL`: `loadsMax` loads are under way.
 * - `CACHE_WAITERS_FULL`: `waitersMax` calls are waiting.
 */
export type CacheLoadErrorCode =
  | 'CACHE_LOAD_FAILED'
  | 'CACHE_LOAD_TIMEOUT'
  | 'CACHE_LOADS_FULL'
  | 'CACHE_WAITERS_FULL'

/** A load that did not succeed. Match on `code`; `message` may change in any release. It never holds the key. */
export class CacheLoadError extends Error {
  override readonly name: string = 'CacheLoadError'
  readonly code: CacheLoadErrorCode

  constructor(code: CacheLoadErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Makes the error without a stack: peers can cause it at will, and a stack costs ten times the rest. */
export function loadError(code: CacheLoadErrorCode, message: string, cause?: unknown): CacheLoadError {
  const options = cause === undefined ? undefined : { cause }
  const limit = Error.stackTraceLimit
  // Gives false where the property is frozen (node --frozen-intrinsics); an assignment would throw.
  if (!Reflect.set(Error, 'stackTraceLimit', 0)) return new CacheLoadError(code, message, options)
  try {
    return new CacheLoadError(code, message, options)
  } finally {
    Error.stackTraceLimit = limit
  }
}
