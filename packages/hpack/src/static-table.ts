/** The static table of RFC 7541, Appendix A: index 1 comes first. */
const FIELDS: readonly (readonly [name: string, value: string])[] = [
  [':authority', ''],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  [':status', '200'],
  [':status', '204'],
  [':status', '206'],
  [':status', '304'],
  [':status', '400'],
  [':status', '404'],
  [':status', '500'],
  ['accept-charset', ''],
  ['accept-encoding', 'gzip, deflate'],
  ['accept-language', ''],
  ['accept-ranges', ''],
  ['accept', ''],
  ['access-control-allow-origin', ''],
  ['age', ''],
  ['allow', ''],
  ['authorization', ''],
  ['cache-control', ''],
  ['content-disposition', ''],
  ['content-encoding', ''],
  ['content-language', ''],
  ['content-length', ''],
  ['content-location', ''],
  ['content-range', ''],
  ['content-type', ''],
  ['cookie', ''],
  ['date', ''],
  ['etag', ''],
  ['expect', ''],
  ['expires', ''],
  ['from', ''],
  ['host', ''],
  ['if-match', ''],
  ['if-modified-since', ''],
  ['if-none-match', ''],
  ['if-range', ''],
  ['if-unmodified-since', ''],
  ['last-modified', ''],
  ['link', ''],
  ['location', ''],
  ['max-forwards', ''],
  ['proxy-authenticate', ''],
  ['proxy-authorization', ''],
  ['range', ''],
  ['referer', ''],
  ['refresh', ''],
  ['retry-after', ''],
  ['server', ''],
  ['set-cookie', ''],
  ['strict-transport-security', ''],
  ['transfer-encoding', ''],
  ['user-agent', ''],
  ['vary', ''],
  ['via', ''],
  ['www-authenticate', ''],
]

/** Entries of the static table; the newest entry of the dynamic table is the index after it. */
export const STATIC_COUNT: number = FIELDS.length

/** Names by index; 0 is no index. */
export const staticNames: readonly string[] = ['', ...FIELDS.map(([name]) => name)]

/** Values by index. */
export const staticValues: readonly string[] = ['', ...FIELDS.map(([, value]) => value)]

/**
 * A number that depends on a name alone, spread well over the low eight bits: the length and three characters.
 * Equal names have equal hashes; a peer can make others collide, so that what is built on it must bound its search.
 */
export function nameHash(name: string): number {
  const length = name.length
  if (length === 0) return 0
  return (
    length * 5 + name.charCodeAt(0) * 3 + name.charCodeAt(length >> 1) * 37 + name.charCodeAt(length - 1) * 11
  )
}

/** Slots by hash, each with the first index of a name or 0, open addressing. */
const SLOT_MASK = 255
const slots: Uint8Array = new Uint8Array(SLOT_MASK + 1)
for (let index = STATIC_COUNT; index > 0; index--) {
  const name = staticNames[index] as string
  let slot = nameHash(name) & SLOT_MASK
  while (slots[slot] !== 0 && staticNames[slots[slot] as number] !== name) slot = (slot + 1) & SLOT_MASK
  slots[slot] = index
}

/** The first index of `name` in the static table, or 0; equal names follow each other. `hash` is its `nameHash`. */
export function staticIndex(name: string, hash: number): number {
  let slot = hash & SLOT_MASK
  for (;;) {
    const index = slots[slot] as number
    if (index === 0 || staticNames[index] === name) return index
    slot = (slot + 1) & SLOT_MASK
  }
}
