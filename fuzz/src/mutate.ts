import type { Random } from './random.ts'

/** Bytes at which parsers decide. */
const ODD_BYTES: readonly number[] = [0, 1, 9, 10, 11, 13, 32, 34, 44, 45, 48, 57, 58, 59, 61, 127, 128, 255]
const ODD_NUMBERS: readonly string[] = [
  '0',
  '00',
  '1',
  '-1',
  '+1',
  '255',
  '256',
  '65535',
  '65536',
  '4294967296',
]
const BIG_NUMBERS: readonly string[] = [
  '9007199254740991',
  '9007199254740992',
  '18446744073709551616',
  '1e1',
  '0x10',
]

/** What {@link mutate} takes from. */
export interface Material {
  /** Words of the format. */
  readonly dictionary: readonly Buffer[]
  /** Another input, to be crossed with. */
  other(): Buffer
  /** Longest result, in bytes. */
  readonly bytesMax: number
}

/** A changed copy of `input`: one to sixteen edits of random kinds at random places. */
export function mutate(input: Buffer, random: Random, material: Material): Buffer {
  let bytes = input
  for (let edits = 1 << random.below(5); edits > 0; edits -= 1) bytes = edit(bytes, random, material)
  return bytes.length > material.bytesMax ? bytes.subarray(0, material.bytesMax) : bytes
}

function edit(bytes: Buffer, random: Random, material: Material): Buffer {
  const at = random.below(bytes.length + 1)
  const span = 1 + random.below(Math.min(1 << random.below(8), Math.max(1, bytes.length - at)))
  switch (random.below(12)) {
    case 0:
      return replace(bytes, at, 1, Buffer.of((bytes[at] ?? 0) ^ (1 << random.below(8))))
    case 1:
      return replace(bytes, at, 1, Buffer.of(random.below(256)))
    case 2:
      return replace(bytes, at, random.below(2), Buffer.of(random.pick(ODD_BYTES)))
    case 3:
      return replace(bytes, at, span, Buffer.alloc(0))
    case 4: // doubled
      return replace(bytes, at, 0, bytes.subarray(at, at + span))
    case 5: // a part of it somewhere else
      return replace(
        bytes,
        random.below(bytes.length + 1),
        random.below(2) * span,
        bytes.subarray(at, at + span),
      )
    case 6:
    case 7:
      return replace(bytes, at, 0, word(random, material))
    case 8: {
      const put = word(random, material)
      return replace(bytes, at, put.length, put)
    }
    case 9: {
      const other = material.other()
      return replace(bytes, at, bytes.length, other.subarray(random.below(other.length + 1)))
    }
    case 10: {
      const other = material.other()
      const from = random.below(other.length + 1)
      return replace(bytes, at, 0, other.subarray(from, from + 1 + random.below(64)))
    }
    default:
      return number(bytes, at, random)
  }
}

function word(random: Random, { dictionary }: Material): Buffer {
  return dictionary.length === 0 ? Buffer.of(random.below(256)) : random.pick(dictionary)
}

/** Puts another number in the place of the next one that stands there in decimal. */
function number(bytes: Buffer, at: number, random: Random): Buffer {
  let start = at
  while (start < bytes.length && !isDigit(bytes[start])) start += 1
  let end = start
  while (end < bytes.length && isDigit(bytes[end])) end += 1
  const text = random.pick(random.below(2) === 0 ? ODD_NUMBERS : BIG_NUMBERS)
  return replace(bytes, start, end - start, Buffer.from(text))
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39
}

function replace(bytes: Buffer, at: number, removed: number, put: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + removed)])
}
