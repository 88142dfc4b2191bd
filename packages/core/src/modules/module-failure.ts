import { isProxyError, ProxyError } from '@cirque/error'
import type { HttpModule } from './http-module.ts'

/** What a filter of a module threw, as the request's error: a `ProxyError` as it is. */
export function moduleFailure(thrown: unknown, filter: keyof HttpModule): ProxyError {
  if (isProxyError(thrown)) return thrown
  return new ProxyError('FILTER_FAILED', 'internal', `The ${filter} of a module failed`, { cause: thrown })
}
