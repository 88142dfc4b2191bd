import { type HttpModule, type HttpModuleBuilder, HttpModules } from '@cirque/core'
import { answerAtOnce } from './hooks/hook-answers.ts'
import type { ProxyHttp } from './proxy-http.ts'

const REQUEST_FILTERS = ['requestHeaderFilter', 'requestBodyFilter'] as const

/** The modules that responses of upstreams pass. One that wants requests as well would wait for them in vain. */
class UpstreamModules extends HttpModules {
  override add(builder: HttpModuleBuilder): this {
    const made = builder?.module?.prototype as HttpModule | undefined
    for (const filter of REQUEST_FILTERS) {
      if (made?.[filter] === undefined) continue
      throw new TypeError(
        `The module "${builder.module.name}" has a ${filter}, but modules for upstreams see responses only`,
      )
    }
    return super.add(builder)
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
