/**
 * The bytes that nginx hashes for a server before the previous point: host, NUL, port.
 *
 * The split follows `ngx_http_upstream_init_chash`: `unix:` in any case is cut off and the path is the host;
 * otherwise digits at the end behind a colon are the port, and everything before the colon is the host, square
 * brackets of IPv6 included. Without a port the port is empty, so `10.0.0.1` and `10.0.0.1:80` are different
 * servers to the hash although nginx connects to the same place.
 *
 * @param ipv6Brackets - False takes the square brackets off, as pingora-ketama hashes IPv6.
 */
export function hashInput(address: string, ipv6Brackets: boolean): string {
  if (/^unix:/i.test(address)) return `${address.slice(5)}\0`
  const colon = /:([0-9]*)$/.exec(address)
  let host = colon === null ? address : address.slice(0, colon.index)
  const port = colon?.[1] ?? ''
  if (!ipv6Brackets && host.startsWith('[') && host.endsWith(']')) host = host.slice(1, -1)
  return `${host}\0${port}`
}
