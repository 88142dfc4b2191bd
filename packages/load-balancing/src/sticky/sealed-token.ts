import { createCipheriv, createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto'

/** Longest text that is opened, in base64url characters: longer than any address and a time. */
const TOKEN_CHARACTERS_MAX = 1_024
const TAG_BYTES = 16
const TOKEN = /^v1\.([A-Za-z0-9_-]+)$/

/**
 * Seals short texts so that whoever carries them can neither read nor change them.
 *
 * The tag is an HMAC-SHA-256 of the text, cut to 16 bytes, and also the initial counter of AES-256-CTR: the synthetic
 * IV of RFC 5297 §2.6, with HMAC in the place of CMAC. It needs no random nonce, so no count of tokens wears the key
 * out. Equal texts give equal tokens.
 */
export class Sealer {
  readonly #signKey: Buffer
  readonly #cipherKey: Buffer

  constructor(secret: Uint8Array) {
    this.#signKey = createHmac('sha256', secret).update('cirque sealed token v1: sign').digest()
    this.#cipherKey = createHmac('sha256', secret).update('cirque sealed token v1: cipher').digest()
  }

  seal(text: string): string {
    const tag = this.#sign(text)
    const cipher = createCipheriv('aes-256-ctr', this.#cipherKey, tag)
    return `v1.${Buffer.concat([tag, cipher.update(text, 'utf8'), cipher.final()]).toString('base64url')}`
  }

  /** The text, or `undefined` if this key did not seal it. */
  open(token: string): string | undefined {
    if (token.length > TOKEN_CHARACTERS_MAX) return undefined
    const bytes = Buffer.from(TOKEN.exec(token)?.[1] ?? '', 'base64url')
    if (bytes.length <= TAG_BYTES) return undefined
    const tag = bytes.subarray(0, TAG_BYTES)
    const cipher = createDecipheriv('aes-256-ctr', this.#cipherKey, tag)
    const text = Buffer.concat([cipher.update(bytes.subarray(TAG_BYTES)), cipher.final()]).toString('utf8')
    return timingSafeEqual(this.#sign(text), tag) ? text : undefined
  }

  #sign(text: string): Buffer {
    return createHmac('sha256', this.#signKey).update(text).digest().subarray(0, TAG_BYTES)
  }
}
