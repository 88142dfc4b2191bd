// A decoder of RFC 7541 that is as plain as its text: for comparison, never for speed. It shares the two tables of the
// appendices with the decoder under test, which has tests of its own for them, and no code.
import { codeBits, codes } from '../../packages/hpack/src/huffman-code.ts'
import { staticNames, staticValues } from '../../packages/hpack/src/static-table.ts'

type Field = readonly [name: string, value: string]

const OCTETS: ReadonlyMap<string, number> = new Map(
  Array.from(codes, (code, octet) => [code.toString(2).padStart(codeBits[octet] as number, '0'), octet]),
)
const STATIC: readonly Field[] = staticNames
  .slice(1)
  .map((name, index) => [name, staticValues[index + 1] as string])

/** A table and what has been read; `undefined` from `decode` on, the block breaks the rules. */
export class ReferenceHpackDecoder {
  #table: Field[] = []
  #sizeMax: number
  readonly #limit: number
  #block: readonly number[] = []
  #at = 0

  constructor(limit: number) {
    this.#limit = limit
    this.#sizeMax = limit
  }

  decode(block: Buffer): string[] | undefined {
    this.#block = [...block]
    this.#at = 0
    const list: string[] = []
    try {
      for (let updates = 0; this.#at < this.#block.length; ) {
        const byte = this.#block[this.#at] as number
        if ((byte & 0b1110_0000) === 0b0010_0000) {
          if (list.length > 0 || ++updates > 2) return undefined
          const size = this.#integer(5)
          if (size > this.#limit) return undefined
          this.#sizeMax = size
          this.#evict()
        } else {
          const field = byte >= 0x80 ? this.#field(this.#integer(7)) : this.#literalField(byte)
          if (byte >= 0x40 && byte < 0x80) {
            this.#table.unshift(field)
            this.#evict()
          }
          list.push(...field)
        }
      }
    } catch (error) {
      if (error instanceof RangeError) return undefined
      throw error
    }
    return list
  }

  #literalField(byte: number): Field {
    const index = this.#integer(byte >= 0x40 ? 6 : 4)
    const name = index === 0 ? this.#string() : this.#field(index)[0]
    return [name, this.#string()]
  }

  #field(index: number): Field {
    const field = index === 0 ? undefined : [...STATIC, ...this.#table][index - 1]
    if (field === undefined) throw new RangeError('no such index')
    return field
  }

  #evict(): void {
    const size = (): number =>
      this.#table.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0)
    while (size() > this.#sizeMax) this.#table.pop()
  }

  #byte(): number {
    const byte = this.#block[this.#at++]
    if (byte === undefined) throw new RangeError('cut off')
    return byte
  }

  #integer(prefixBits: number): number {
    const prefix = 2 ** prefixBits - 1
    let value = this.#byte() & prefix
    if (value < prefix) return value
    for (let count = 0; ; count += 1) {
      if (count === 4) throw new RangeError('too long') // our bound; RFC 7541 §5.1 leaves it open
      const byte = this.#byte()
      value += (byte & 0x7f) * 128 ** count
      if (byte < 0x80) return value
    }
  }

  #string(): string {
    const isHuffman = ((this.#block[this.#at] ?? 0) & 0x80) !== 0
    const bytes = Array.from({ length: this.#lengthInBounds() }, () => this.#byte())
    if (!isHuffman) return String.fromCharCode(...bytes)
    let text = ''
    let bits = ''
    for (const bit of bytes.map((byte) => byte.toString(2).padStart(8, '0')).join('')) {
      bits += bit
      const octet = OCTETS.get(bits)
      if (octet === undefined) {
        if (bits.length > 30) throw new RangeError('no such code')
        continue
      }
      text += String.fromCharCode(octet)
      bits = ''
    }
    if (bits.length > 7 || bits.includes('0')) throw new RangeError('padding that is none')
    return text
  }

  #lengthInBounds(): number {
    const length = this.#integer(7)
    if (length > this.#block.length - this.#at) throw new RangeError('cut off')
    return length
  }
}
