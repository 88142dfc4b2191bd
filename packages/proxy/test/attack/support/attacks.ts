import type { Attack } from './attack.ts'
import { HTTP1_ATTACKS } from './attacks-http1.ts'
import { HTTP2_ATTACKS } from './attacks-http2.ts'
import { TLS_ATTACKS } from './attacks-tls.ts'

/** Every attack that is measured, by its name. */
export const ATTACKS: Readonly<Record<string, Attack>> = {
  ...HTTP1_ATTACKS,
  ...HTTP2_ATTACKS,
  ...TLS_ATTACKS,
}
