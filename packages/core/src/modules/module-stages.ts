import type { ResponseHeader } from '@cirque/http'
import type { HttpModule } from './http-module.ts'
import type { HttpModuleContext } from './http-modules.ts'
import type { ModuleBodyStage, ModuleBodyStep } from './module-body.ts'

/** The filter of a module that each step of a request's body calls: there is but one. */
export const REQUEST_FILTERS: Readonly<Record<ModuleBodyStep, keyof HttpModule>> = Object.freeze({
  body: 'requestBodyFilter',
  trailers: 'requestBodyFilter',
  done: 'requestBodyFilter',
})

/** The filter of a module that each step of a response's body calls. */
export const RESPONSE_FILTERS: Readonly<Record<ModuleBodyStep, keyof HttpModule>> = Object.freeze({
  body: 'responseBodyFilter',
  trailers: 'responseTrailerFilter',
  done: 'responseDoneFilter',
})

/** What the modules of a request do to its body; empty if none of them wants it. */
export function requestStages(context: HttpModuleContext): ModuleBodyStage[] {
  return context.modules.filter(filtersRequestBody).map((module) => ({
    body: (chunk, end) => module.requestBodyFilter?.(chunk, end, context),
    trailers: null,
    done: null,
  }))
}

/** What the modules of a request do to its response's body; empty if none of them wants it. */
export function responseStages(context: HttpModuleContext): ModuleBodyStage[] {
  return context.modules.filter(filtersResponseBody).map((module) => ({
    body:
      module.responseBodyFilter === undefined
        ? null
        : (chunk, end) => module.responseBodyFilter?.(chunk, end, context),
    trailers:
      module.responseTrailerFilter === undefined
        ? null
        : (trailers) => module.responseTrailerFilter?.(trailers, context),
    done: module.responseDoneFilter === undefined ? null : () => module.responseDoneFilter?.(context),
  }))
}

/** Asks a head that nobody edited without taking it apart. */
export function declaresLength(header: ResponseHeader): boolean {
  const { lines } = header
  return lines === null ? header.has('content-length') : lines.contentLength >= 0
}

function filtersRequestBody(module: HttpModule): boolean {
  return module.requestBodyFilter !== undefined && module.filtersRequestBody !== false
}

function filtersResponseBody(module: HttpModule): boolean {
  if (module.filtersResponseBody === false) return false
  return (
    module.responseBodyFilter !== undefined ||
    module.responseTrailerFilter !== undefined ||
    module.responseDoneFilter !== undefined
  )
}
