import fc from 'fast-check'

/** Any octets, as latin1. */
export const octets: fc.Arbitrary<string> = fc.string({
  unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
})

const names = fc.oneof(
  fc.constantFrom(':path', ':status', ':method', 'cookie', 'authorization', 'date', 'x-a', 'x-b', 'server'),
  octets,
)
const values = fc.oneof(
  fc.constantFrom('', '/', '200', 'GET', 'a', 'gzip, deflate'),
  octets,
  fc.string({ unit: fc.constantFrom('a', '~', '\n', 'ÿ'), minLength: 100, maxLength: 3000 }),
)

/** Flat lists [name, value, …] in which some fields come again. */
export const lists: fc.Arbitrary<string[]> = fc
  .array(fc.tuple(names, values), { maxLength: 12 })
  .map((fields) => fields.flat())

/** Sizes of a dynamic table, and those around its bounds. */
export const sizes: fc.Arbitrary<number> = fc.oneof(
  fc.constantFrom(0, 31, 32, 33, 64, 4095, 4096, 4097),
  fc.integer({ min: 0, max: 20_000 }),
)
