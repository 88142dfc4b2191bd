import { inspect } from 'node:util'
import type { RequestHeader } from '@cirque/http'
import { isPromise } from '../is-promise.ts'
import type { HttpModule, HttpModuleBuilder, HttpModuleClass } from './http-module.ts'

/** How many modules a service may have: each one is a call per piece of a body. */
export const HTTP_MODULES_MAX = 64

/** The modules of a service. Fill it before the service takes its first request. */
export class HttpModules {
  readonly #builders: HttpModuleBuilder[] = []
  #frozen = false

  /** @throws As {@link add}. */
  constructor(builders: Iterable<HttpModuleBuilder> = []) {
    for (const builder of builders) this.add(builder)
  }

  /** How many modules there are. */
  get size(): number {
    return this.#builders.length
  }

  /**
   * Adds a module.
   *
   * @throws {TypeError} If the builder is none.
   * @throws {RangeError} If its order is no integer, or there are {@link HTTP_MODULES_MAX} modules.
   * @throws {Error} If there is one of its kind already, or a request has been served.
   */
  add(builder: HttpModuleBuilder): this {
    if (typeof builder?.init !== 'function' || typeof builder.module !== 'function') {
      throw new TypeError('An HTTP module needs a builder with the method init and the class module')
    }
    const { name } = builder.module
    if (this.#frozen) throw new Error(`Cannot add the module "${name}": a request has been served`)
    if (this.#builders.some((other) => other.module === builder.module)) {
      throw new Error(`The module "${name}" was added already`)
    }
    if (this.#builders.length >= HTTP_MODULES_MAX) {
      throw new RangeError(`A service has at most ${HTTP_MODULES_MAX} modules`)
    }
    const order = orderOf(builder)
    const after = this.#builders.findIndex((other) => orderOf(other) < order)
    this.#builders.splice(after < 0 ? this.#builders.length : after, 0, builder)
    return this
  }

  /**
   * The modules of one request. From the first call on, no module can be added.
   *
   * @param filterTimeoutMs - How long a filter that returned a promise is waited for. Default 0: for ever.
   * @throws What a builder throws; the modules made before it are closed.
   */
  createContext(request: RequestHeader, filterTimeoutMs: number = 0): HttpModuleContext {
    this.#frozen = true
    const modules: HttpModule[] = []
    try {
      for (const builder of this.#builders) modules.push(made(builder))
    } catch (error) {
      closeModules(modules)
      throw error
    }
    return new HttpModuleContext(request, this.#builders, modules, filterTimeoutMs)
  }
}

/** Closes every module, whatever another throws: a request has ended and nobody is left to be told. @internal */
export function closeModules(modules: readonly HttpModule[]): void {
  for (const module of modules) {
    try {
      const closing: unknown = module.close?.()
      // An `async` method fits the type of one that returns nothing: what it rejects with must not end the process.
      if (isPromise(closing)) Promise.resolve(closing).catch(() => undefined)
    } catch {
      // The others still hold what they hold.
    }
  }
}

/** A module; of a promise or of nothing no filter would be called. */
function made(builder: HttpModuleBuilder): HttpModule {
  const module: unknown = builder.init()
  if (typeof module === 'object' && module !== null && !isPromise(module)) return module
  if (isPromise(module)) Promise.resolve(module).catch(() => undefined)
  throw new TypeError(
    `init() of the module "${builder.module.name}" must give a module at once, not ${inspect(module, { depth: 0 })}`,
  )
}

function orderOf(builder: HttpModuleBuilder): number {
  const order = builder.order ?? 0
  if (!Number.isSafeInteger(order)) {
    throw new RangeError(`The order of the module "${builder.module.name}" must be an integer, not ${order}`)
  }
  return order
}

/** The modules of one request, in the order in which they run. */
export class HttpModuleContext {
  /** The request they serve, with the edits made so far. */
  readonly request: RequestHeader
  readonly modules: readonly HttpModule[]
  /** How long a filter is waited for; 0 for ever. @internal */
  readonly filterTimeoutMs: number
  readonly #builders: readonly HttpModuleBuilder[]

  /** @internal Made by {@link HttpModules.createContext}. */
  constructor(
    request: RequestHeader,
    builders: readonly HttpModuleBuilder[],
    modules: readonly HttpModule[],
    filterTimeoutMs: number = 0,
  ) {
    this.request = request
    this.modules = modules
    this.filterTimeoutMs = filterTimeoutMs
    this.#builders = builders
  }

  /**
   * This request's module of a class, or `undefined` when the service has none. Hooks use it to tell a
   * module what to do with this one request.
   */
  get<M extends HttpModule>(module: HttpModuleClass<M>): M | undefined {
    const index = this.#builders.findIndex((builder) => builder.module === module)
    return index < 0 ? undefined : (this.modules[index] as M)
  }
}
