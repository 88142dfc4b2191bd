/** A navigation of Chrome, with a session cookie. */
export function browserRequest(path: string): string[] {
  return [
    ...[':method', 'GET', ':authority', 'shop.example.com', ':scheme', 'https', ':path', path],
    ...['cache-control', 'max-age=0'],
    ...['sec-ch-ua', '"Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"'],
    ...['sec-ch-ua-mobile', '?0', 'sec-ch-ua-platform', '"Windows"', 'upgrade-insecure-requests', '1'],
    'user-agent',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
    'accept',
    'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8',
    ...['sec-fetch-site', 'none', 'sec-fetch-mode', 'navigate', 'sec-fetch-user', '?1'],
    ...['sec-fetch-dest', 'document', 'accept-encoding', 'gzip, deflate, br, zstd'],
    ...['accept-language', 'en-GB,en;q=0.9,de;q=0.8'],
    ...['cookie', 'session=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'],
    ...['priority', 'u=0, i'],
  ]
}

/** What a JSON API answers; `etag` and `x-request-id` differ from one response to the next. */
export function apiResponse(serial: number): string[] {
  return [
    ...[
      ':status',
      '200',
      'date',
      'Fri, 27 Nov 2026 10:00:00 GMT',
      'content-type',
      'application/json; charset=utf-8',
    ],
    ...['content-length', `${1000 + (serial % 9000)}`, 'cache-control', 'no-cache, private'],
    ...['etag', `W/"${(serial * 2_654_435_761).toString(16)}"`, 'vary', 'accept-encoding, origin'],
    ...['x-request-id', `${(serial * 40_503 + 0x1000_0000).toString(16)}-7f3a-4c1e`, 'server', 'cirque'],
    ...['strict-transport-security', 'max-age=31536000; includeSubDomains'],
  ]
}

/** The least that a server answers. */
export const SMALL_RESPONSE: readonly string[] = [
  ...[':status', '200', 'content-type', 'text/plain', 'content-length', '13', 'server', 'nginx'],
  ...['date', 'Fri, 27 Nov 2026 10:00:00 GMT'],
]
