import { equalsIgnoreCase } from './characters.ts'

/** Makes `value` the only one of `name`, in the place and the spelling of the first field. */
export function collapse(fields: string[], name: string, value: string): void {
  let kept = 0
  let found = false
  for (let index = 0; index < fields.length; index += 2) {
    const candidate = fields[index] as string
    const same = equalsIgnoreCase(candidate, name)
    if (same && found) continue
    found ||= same
    fields[kept] = candidate
    fields[kept + 1] = same ? value : (fields[index + 1] as string)
    kept += 2
  }
  fields.length = kept
}
