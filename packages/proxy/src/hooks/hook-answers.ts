import { isProxyError, ProxyError } from '@cirque/error'
import type { OrNothing } from '../proxy-http.ts'

/** True for what a hook returned when it has to be waited for. */
export function isPromise<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof value === 'object' && value !== null && typeof (value as PromiseLike<T>).then === 'function'
}

/** What a hook threw, as the exchange's error: a `ProxyError` as it is, anything else as a fault of the filter. */
export function hookError(thrown: unknown, phase: string): ProxyError {
  try {
    return isProxyError(thrown) ? thrown : filterError(thrown, phase)
  } catch {
    // An object that throws when it is looked at.
    return filterError(undefined, phase)
  }
}

function filterError(cause: unknown, phase: string): ProxyError {
  return new ProxyError('FILTER_FAILED', 'internal', `The hook ${phase} failed`, {
    cause,
    context: `in ${phase}`,
  })
}

/** True for what a hook may say that decides whether a request goes on. */
export function isVerdict(value: unknown): value is boolean | undefined {
  return value === undefined || value === true || value === false
}

/** A hook has returned what means nothing there. */
export function wrongAnswer(phase: string, wanted: string, given: unknown): TypeError {
  return new TypeError(
    `The hook ${phase} must return ${wanted}, not ${given === null ? 'null' : typeof given}`,
  )
}

/**
 * What a hook returned that nobody waits for.
 *
 * @throws {TypeError} If it is a promise; what that rejects with is dropped, so that it cannot end the process.
 */
export function answerAtOnce<T>(answer: T, phase: string): T {
  if (!isPromise(answer)) return answer
  Promise.resolve(answer).catch(() => undefined)
  throw new TypeError(`The hook ${phase} must answer at once, not with a promise`)
}

/** The error that a judging hook gave to go on with, or `error` when it gave none. */
export function judgedError(judged: OrNothing<ProxyError>, error: ProxyError, phase: string): ProxyError {
  if (judged === undefined) return error
  if (isProxyError(judged)) return judged
  return hookError(new TypeError(`The hook ${phase} must give a ProxyError, not ${typeof judged}`), phase)
}
