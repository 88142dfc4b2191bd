/** Bits of what is wrong with a field by RFC 9113 §8.2.1. */
export const NAME_FLAW = 1
export const VALUE_FLAW = 2

/** The octets of a name: tokens without upper case. */
const inName: Uint8Array = new Uint8Array(256)
for (const character of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
  inName[character.charCodeAt(0)] = 1
}

/** `NAME_FLAW` if these octets are no name: a token without upper case, after a colon for a pseudo-header field. */
export function nameFlaw(octets: Uint8Array, start: number, end: number): number {
  let at = octets[start] === 0x3a ? start + 1 : start
  if (at >= end) return NAME_FLAW
  do {
    if (inName[octets[at] as number] === 0) return NAME_FLAW
  } while (++at < end)
  return 0
}

/** `VALUE_FLAW` if these octets are no value: there is a control other than tab, or white space at an end. */
export function valueFlaw(octets: Uint8Array, start: number, end: number): number {
  for (let at = start; at < end; at++) {
    const octet = octets[at] as number
    if (octet < 0x20 ? octet !== 0x09 : octet === 0x7f) return VALUE_FLAW
  }
  return edgeFlaw(octets, start, end)
}

/** `VALUE_FLAW` if there is white space at an end. */
export function edgeFlaw(octets: Uint8Array, start: number, end: number): number {
  if (start === end) return 0
  const first = octets[start]
  const last = octets[end - 1]
  return first === 0x20 || first === 0x09 || last === 0x20 || last === 0x09 ? VALUE_FLAW : 0
}
