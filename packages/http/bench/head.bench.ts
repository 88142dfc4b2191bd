/**
 * Head parsing and writing, hand-timed: nanoseconds per head, best and median of several rounds, beside a
 * plain parser of split and regular expressions that checks far less.
 *
 *   node --conditions=@cirque/source bench/head.bench.ts
 */
import { cpus } from 'node:os'
import {
  ChunkedDecoder,
  RequestHeader,
  RequestHeadParser,
  ResponseHeader,
  ResponseHeadParser,
  removeHopByHop,
} from '../src/index.ts'

const WRK = 'GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept: */*\r\nX-Trace: 0123456789\r\n\r\n'
const BROWSER = [
  'GET /assets/app.js?v=20260101 HTTP/1.1',
  'Host: www.example.org',
  'Connection: keep-alive',
  'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"',
  'sec-ch-ua-mobile: ?0',
  'sec-ch-ua-platform: "Linux"',
  'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
  'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8',
  'Sec-Fetch-Site: same-origin',
  'Sec-Fetch-Mode: no-cors',
  'Referer: https://www.example.org/index.html',
  'Accept-Encoding: gzip, deflate, br, zstd',
  'Accept-Language: en-GB,en;q=0.9',
  '\r\n',
].join('\r\n')
const RESPONSE = [
  'HTTP/1.1 200 OK',
  'Server: nginx/1.26.0',
  'Date: Sun, 06 Nov 1994 08:49:37 GMT',
  'Content-Type: text/plain',
  'Content-Length: 13',
  'Connection: keep-alive',
  '\r\n',
].join('\r\n')

const ROUNDS = 9
const CALLS = 100_000
let sink = 0
const scratch = Buffer.alloc(4096)

function measure(name: string, run: () => number): void {
  const times: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const begin = process.hrtime.bigint()
    for (let call = 0; call < CALLS; call++) sink = (sink + run()) | 0
    times.push(Number(process.hrtime.bigint() - begin) / CALLS)
  }
  times.sort((a, b) => a - b)
  const best = (times[0] as number).toFixed(0).padStart(6)
  const median = (times[ROUNDS >> 1] as number).toFixed(0).padStart(6)
  console.log(`${name.padEnd(44)} ${best} ${median}`)
}

/** The baseline: what a plain parser costs that validates little. */
function plainParse(chunk: Buffer): number {
  const text = chunk.toString('latin1')
  const lines = text.slice(0, text.indexOf('\r\n\r\n')).split('\r\n')
  const match = /^([A-Z]+) (\S+) HTTP\/1\.([01])$/.exec(lines[0] as string)
  if (match === null) return 0
  const fields: string[] = []
  for (let index = 1; index < lines.length; index++) {
    const field = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*$/.exec(lines[index] as string)
    if (field === null) return 0
    fields.push(field[1] as string, field[2] as string)
  }
  return fields.length
}

console.log(`Node ${process.version}, ${cpus()[0]?.model}; ns per operation`)
console.log(`${''.padEnd(44)}   best median`)
const requests = new RequestHeadParser()
const responses = new ResponseHeadParser()
for (const [name, text] of Object.entries({ wrk: WRK, browser: BROWSER })) {
  const chunk = Buffer.from(text, 'latin1')
  measure(`request head, ${name} (${chunk.length} bytes)`, () => {
    requests.execute(chunk, 0, chunk.length)
    return requests.takeHeader().fields.length
  })
  const half = chunk.length >> 1
  measure(`request head, ${name}, in two pieces`, () => {
    requests.execute(chunk, 0, half)
    requests.execute(chunk, half, chunk.length)
    return requests.takeHeader().fields.length
  })
  measure(`request head, ${name}, plain parser`, () => plainParse(chunk))
  requests.execute(chunk, 0, chunk.length)
  const header = requests.takeHeader()
  measure(`request head to wire, ${name}, flattened`, () => flatten(header.toWire()))
  measure(`four lookups, ${name}`, () => {
    const found = header.get('host')?.length ?? 0
    return (
      found +
      (header.has('content-length') ? 1 : 0) +
      (header.has('expect') ? 1 : 0) +
      (header.get('X-None')?.length ?? 0)
    )
  })
  measure(`clone, remove hop-by-hop fields, ${name}`, () => {
    const copy = header.clone()
    removeHopByHop(copy)
    return copy.fields.length
  })
  measure(`clone, insert two fields, ${name}`, () => {
    const copy = header.clone()
    copy.insertHeader('Host', 'upstream.example.org')
    copy.insertHeader('X-Forwarded-For', '192.0.2.1')
    return copy.fields.length
  })
}
const response = Buffer.from(RESPONSE, 'latin1')
measure(`response head (${response.length} bytes)`, () => {
  responses.execute(response, 0, response.length)
  return responses.takeHeader().fields.length
})
const built = ResponseHeader.build(200, {
  Server: 'x',
  Date: 'Sun, 06 Nov 1994 08:49:37 GMT',
  'Content-Length': 13,
})
measure('response head to wire, flattened', () => flatten(built.toWire()))
measure(
  'build a request head',
  () => RequestHeader.build('GET', '/', { Host: 'a', Accept: '*/*' }).fields.length,
)
const body = Buffer.from(`${'400\r\n'}${'x'.repeat(1024)}\r\n0\r\n\r\n`, 'latin1')
const decoder = new ChunkedDecoder()
const counter = {
  onChunkData(_chunk: Buffer, start: number, end: number): void {
    sink = (sink + end - start) | 0
  },
}
measure('chunked body of one 1 KiB chunk', () => {
  decoder.reset()
  return decoder.execute(body, 0, body.length, counter)
})
if (sink === 42) console.log('')

/** What a socket write does to a string built of pieces. */
function flatten(text: string): number {
  return Number(scratch.write(text, 0, 'latin1'))
}
