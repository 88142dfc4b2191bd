import { type HttpModule, type HttpModuleBuilder, HttpModules } from '@cirque/core'
import { answerAtOnce } from './hooks/hook-answers.ts'
import type { ProxyHttp } from './proxy-http.ts'

const REQUEST_FILTERS = ['requestHeaderFilter', 'requestBodyFilter'] as const

/** The modules that responses of upstreams pass. One that wants requests as well would wait for them in vain. */
class UpstreamModules extends HttpModules {
  override add(builder: HttpModuleBuilder): this {
    if (typeof builder?.init !== 'function' || typeof builder.module !== 'function') return super.add(builder)
    const { module, order } = builder
    refuseRequestFilters(module.name, module.prototype as HttpModule)
    const init = () => {
      const made = builder.init()
      refuseRequestFilters(module.name, made) // those that are fields of the module
      return made
    }
    return super.add(order === undefined ? { module, init } : { module, order, init })
  }
}

function refuseRequestFilters(name: string, module: HttpModule | null | undefined): void {
  for (const filter of REQUEST_FILTERS) {
    if (module?.[filter] === undefined) continue
    throw new TypeError(`The module "${name}" has a ${filter}, but modules for upstreams see responses only`)
  }
}

/** The modules that an application adds for its clients; null if there are none. */
export function downstreamModules<Ctx>(app: ProxyHttp<Ctx>): HttpModules | null {
  const modules = new HttpModules()
  answerAtOnce(app.initDownstreamModules?.(modules), 'initDownstreamModules')
  return modules.size === 0 ? null : modules
}

/** The modules that an application adds for its upstreams; null if there are none. */
export function upstreamModules<Ctx>(app: ProxyHttp<Ctx>): HttpModules | null {
  const modules = new UpstreamModules()
  answerAtOnce(app.initUpstreamModules?.(modules), 'initUpstreamModules')
  return modules.size === 0 ? null : modules
}
