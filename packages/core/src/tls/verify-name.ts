import { checkServerIdentity, type PeerCertificate } from 'node:tls'

/**
 * Verifies that a certificate names `expected`; gives the error if not. An underscore in the leftmost label matches a
 * hyphen there too: certificates cannot be had for names with underscores (CA/Browser Forum ballot SC12), which names
 * inside a network often have.
 */
export function verifyName(expected: string, certificate: PeerCertificate): Error | undefined {
  const error = checkServerIdentity(expected, certificate)
  if (error === undefined) return undefined
  const [label = '', ...rest] = expected.split('.')
  if (!label.includes('_') || rest.length === 0) return error
  const hyphenated = [label.replaceAll('_', '-'), ...rest].join('.')
  return checkServerIdentity(hyphenated, certificate) === undefined ? undefined : error
}
