import { codeBits } from '../src/huffman-code.ts'
import { staticNames, staticValues } from '../src/static-table.ts'
import { huffmanCodes } from './rfc7541-codes.ts'

const EOS = '1'.repeat(30)
const octets: ReadonlyMap<string, number> = new Map(
  huffmanCodes.map((code, octet) => [code.toString(2).padStart(codeBits[octet] as number, '0'), octet]),
)

class DecodingError extends Error {}

/** HPACK read off the RFC with no thought of speed or memory: what `HpackDecoder` is compared with. */
export class ReferenceDecoder {
  readonly table: (readonly [name: string, value: string])[] = []
  bytesMax: number
  readonly #announcedMax: number

  constructor(tableBytesMax: number) {
    this.#announcedMax = tableBytesMax
    this.bytesMax = Math.min(tableBytesMax, 4096)
  }

  get tableBytes(): number {
    return this.table.reduce((bytes, [name, value]) => bytes + name.length + value.length + 32, 0)
  }

  /** The list of a block, or null if there is an error in it. */
  decode(block: Uint8Array): string[] | null {
    try {
      return this.#decode(block)
    } catch (error) {
      if (error instanceof DecodingError) return null
      throw error
    }
  }

  #decode(block: Uint8Array): string[] {
    const list: string[] = []
    let at = 0
    let updates = 0
    const integer = (prefixBits: number): number => {
      const prefix = 2 ** prefixBits - 1
      let value = (block[at++] as number) & prefix
      if (value < prefix) return value
      for (let count = 0; ; count++) {
        const byte = block[at++]
        if (byte === undefined || count === 4) throw new DecodingError()
        value += (byte & 0x7f) * 128 ** count
        if (byte < 128) return value
      }
    }
    const text = (): string => {
      const first = block[at]
      if (first === undefined) throw new DecodingError()
      const length = integer(7)
      const bytes = block.subarray(at, at + length)
      if (bytes.length < length) throw new DecodingError()
      at += length
      return first < 128 ? String.fromCharCode(...bytes) : this.#huffman(bytes)
    }
    while (at < block.length) {
      const first = block[at] as number
      if (first >= 128) {
        list.push(...this.#entry(integer(7)))
      } else if (first >= 64) {
        const index = integer(6)
        const name = index === 0 ? text() : this.#entry(index)[0]
        const value = text()
        list.push(name, value)
        this.table.unshift([name, value])
        this.#evict()
      } else if (first >= 32) {
        const size = integer(5)
        if (list.length > 0 || ++updates > 2 || size > this.#announcedMax) throw new DecodingError()
        this.bytesMax = size
        this.#evict()
      } else {
        const index = integer(4)
        const name = index === 0 ? text() : this.#entry(index)[0]
        list.push(name, text())
      }
    }
    return list
  }

  #entry(index: number): readonly [string, string] {
    if (index >= 1 && index <= 61) return [staticNames[index] as string, staticValues[index] as string]
    const entry = this.table[index - 62]
    if (entry === undefined) throw new DecodingError()
    return entry
  }

  #evict(): void {
    while (this.tableBytes > this.bytesMax) this.table.pop()
  }

  #huffman(bytes: Uint8Array): string {
    const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('')
    let text = ''
    let code = ''
    for (const bit of bits) {
      code += bit
      if (code === EOS) throw new DecodingError()
      const octet = octets.get(code)
      if (octet === undefined) continue
      text += String.fromCharCode(octet)
      code = ''
    }
    if (code.length > 7 || code.includes('0')) throw new DecodingError()
    return text
  }
}
