import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Setup, UPLOAD_PATH } from './cases.ts'
import { Child, isInstalled } from './child.ts'
import { freePort, untilListening, untilServing } from './network.ts'
import { nginxCommand } from './nginx.ts'
import type { BenchOptions } from './options.ts'

/** The servers behind every proxy: bodies of fixed size, each at the path `/<bytes>`. */
export interface Origin {
  name: string
  ports: Readonly<Record<Setup['upstream'], number>>
  children: Child[]
}

/**
 * What makes nginx take all of a body before it answers: with `return` it would answer first. So it asks itself for
 * something small once it has the body.
 */
const TAKE_UPLOAD = `client_max_body_size 0; client_body_buffer_size 2m; proxy_method GET; proxy_http_version 1.1;
  proxy_pass_request_body off; proxy_set_header Content-Length "";`

/** Starts nginx with files in the page cache, or a small server on `node:http` where there is none. */
export async function startOrigin(options: BenchOptions, directory: string): Promise<Origin> {
  const ports = { h1: await freePort(), h2: await freePort(), grpc: await freePort() }
  const sizes = [...new Set([...options.bodies, 13])]
  const core = options.cores[0]
  const name = options.tools === 'auto' && isInstalled('nginx') ? 'nginx' : 'node:http'
  const script = (file: string): string[] => [process.execPath, join(import.meta.dirname, 'children', file)]
  let command: string[]
  if (name === 'nginx') {
    const files = join(directory, 'bodies')
    await mkdir(files, { recursive: true })
    for (const size of sizes) await writeFile(join(files, String(size)), Buffer.alloc(size, 'x'))
    command = await nginxCommand(
      join(directory, 'origin'),
      `sendfile on; tcp_nopush on; open_file_cache max=100; keepalive_timeout 600s; etag off;
       server {
         listen 127.0.0.1:${ports.h1} backlog=4096;
         listen 127.0.0.1:${ports.h2} http2 backlog=4096;
         root ${files};
         location ${UPLOAD_PATH} { ${TAKE_UPLOAD} proxy_pass http://127.0.0.1:${ports.h1}/13; }
       }`,
    )
  } else command = [...script('node-origin.ts'), String(ports.h1), String(ports.h2), ...sizes.map(String)]
  const child = new Child(`origin (${name})`, command, { core })
  const children = [child]
  await untilServing(child, { port: ports.h1, path: '/13', tls: false })
  await untilListening(child, ports.h2)
  if (options.protocols.includes('grpc')) {
    const grpc = new Child('gRPC origin', [...script('grpc-origin.ts'), String(ports.grpc)], { core })
    children.push(grpc)
    await untilListening(grpc, ports.grpc)
  }
  return { name, ports, children }
}
