import type { RequestHeader } from '@cirque/http'
import type { TextMapGetter, TextMapSetter } from '@opentelemetry/api'

/** Reads a trace's context out of a request. */
export const fieldGetter: TextMapGetter<RequestHeader> = {
  keys(request) {
    const names: string[] = []
    request.forEachField((name) => names.push(name.toLowerCase()))
    return names
  },
  get(request, name) {
    const values = request.getAll(name)
    return values.length > 1 ? values : values[0]
  },
}

/** Writes a trace's context into a request, in place of what is there. */
export const fieldSetter: TextMapSetter<RequestHeader> = {
  set(request, name, value) {
    request.insertHeader(name, value)
  },
}
