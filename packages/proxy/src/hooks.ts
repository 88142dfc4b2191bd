import { isProxyError, ProxyError } from '@cirque/error'

/** True for what a hook returned when it has to be waited for. */
export function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof value === 'object' && value !== null && typeof (value as Promise<T>).then === 'function'
}

/** What a hook threw, as the exchange's error: a `ProxyError` as it is, anything else as a fault of the filter. */
export function hookError(thrown: unknown, phase: string): ProxyError {
  if (isProxyError(thrown)) return thrown
  return new ProxyError('FILTER_FAILED', 'internal', `The hook ${phase} failed`, {
    cause: thrown,
    context: `in ${phase}`,
  })
}
