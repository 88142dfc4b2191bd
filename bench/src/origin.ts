import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Child, isInstalled } from './child.ts'
import { freePort, untilServing } from './network.ts'
import { nginxCommand } from './nginx.ts'
import type { BenchOptions } from './options.ts'

/** The server behind every proxy: bodies of fixed size, each at the path `/<bytes>`. */
export interface Origin {
  name: string
  port: number
  child: Child
}

/** Starts nginx with files in the page cache, or a small server on `node:http` where there is none. */
export async function startOrigin(options: BenchOptions, directory: string): Promise<Origin> {
  const port = await freePort()
  const sizes = [...new Set([...options.bodies, 13])]
  const core = options.cores[0]
  const name = options.tools === 'auto' && isInstalled('nginx') ? 'nginx' : 'node:http'
  let command: string[]
  if (name === 'nginx') {
    const files = join(directory, 'bodies')
    await mkdir(files, { recursive: true })
    for (const size of sizes) await writeFile(join(files, String(size)), Buffer.alloc(size, 'x'))
    command = await nginxCommand(
      join(directory, 'origin'),
      `sendfile on; tcp_nopush on; open_file_cache max=100; keepalive_timeout 600s; etag off;
       server { listen 127.0.0.1:${port} backlog=4096; root ${files}; }`,
    )
  } else {
    command = [
      process.execPath,
      join(import.meta.dirname, 'children/node-origin.ts'),
      String(port),
      ...sizes.map(String),
    ]
  }
  const child = new Child(`origin (${name})`, command, { core })
  await untilServing(child, port, '/13')
  return { name, port, child }
}
