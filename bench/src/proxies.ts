import { existsSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Setup } from './cases.ts'
import type { Certificate } from './certificate.ts'
import { isInstalled, versionOf } from './child.ts'
import { nginxCommand } from './nginx.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** What a contender needs to know to start. */
interface StartContext {
  setup: Setup
  port: number
  originPort: number
  certificate: Certificate
  /** A folder of its own for configuration and temporary files. */
  directory: string
  fromSource: boolean
}

/** One line of the comparison. */
export interface Contender {
  name: string
  /** Why it cannot run here, or `undefined` when it can. */
  missing(fromSource: boolean): string | undefined
  /** Its version, and that of its TLS library. */
  version(): string
  /** Whether it can do that, and the bench knows how; most on npm speak cleartext HTTP/1 only. */
  speaks(setup: Setup): boolean
  /** Writes its configuration and returns the command that runs it in the foreground. */
  command(context: StartContext): Promise<string[]>
  /** Environment that sets its threads, where its configuration cannot. */
  env?(context: StartContext): NodeJS.ProcessEnv
}

const NGINX: Contender = {
  name: 'nginx',
  missing: () => (isInstalled('nginx') ? undefined : 'nginx is not installed'),
  version() {
    const text = versionOf('nginx', ['-V'], Number.POSITIVE_INFINITY)
    const openssl = /running with OpenSSL (\S+)/.exec(text) ?? /built with OpenSSL (\S+)/.exec(text)
    return `${/nginx\/(\S+)/.exec(text)?.[1] ?? '?'} (OpenSSL ${openssl?.[1] ?? '?'})`
  },
  // HTTP/2 with an origin only for gRPC.
  speaks: ({ upstream }) => upstream !== 'h2',
  command({ setup, port, originPort, directory, certificate }) {
    const { certFile, keyFile } = certificate
    const tls = `ssl_certificate ${certFile}; ssl_certificate_key ${keyFile}; ssl_protocols TLSv1.2 TLSv1.3;`
    // Responses are buffered as it comes, but no detour through the disk when one side is slower than the other.
    const http1 = `proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_max_temp_file_size 0; client_max_body_size 0; proxy_request_buffering off;`
    const grpc = 'grpc_pass grpc://origin;'
    return nginxCommand(
      directory,
      `upstream origin { server 127.0.0.1:${originPort}; keepalive 1024; keepalive_requests 1000000000; }
       keepalive_timeout 600s;
       server {
         listen 127.0.0.1:${port} ${setup.tls ? 'ssl http2' : ''} backlog=4096;
         ${setup.tls ? tls : ''}
         location / { ${setup.upstream === 'h1' ? http1 : grpc} }
       }`,
      setup.threads,
    )
  },
}

const HAPROXY: Contender = {
  name: 'haproxy',
  missing: () => (isInstalled('haproxy') ? undefined : 'haproxy is not installed'),
  version() {
    const text = versionOf('haproxy', ['-vv'], Number.POSITIVE_INFINITY)
    const openssl = /Running on OpenSSL version : OpenSSL (\S+)/.exec(text)?.[1] ?? '?'
    return `${/version (\S+)/.exec(text)?.[1] ?? '?'} (OpenSSL ${openssl})`
  },
  speaks: () => true,
  command: ({ setup, port, originPort, directory, certificate }) =>
    haproxyCommand(
      directory,
      `defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 60s
  timeout http-keep-alive 600s
  option http-keep-alive
  http-reuse always
frontend front
  bind 127.0.0.1:${port} backlog 4096 ${setup.tls ? `ssl crt ${certificate.bothFile} ssl-min-ver TLSv1.2 alpn h2,http/1.1` : ''}
  default_backend back
backend back
  server origin 127.0.0.1:${originPort} ${setup.upstream === 'h1' ? '' : 'proto h2'}
`,
      setup.threads,
    ),
}

/** Writes a configuration for HAProxy, and returns the command that starts it. */
export async function haproxyCommand(
  directory: string,
  config: string,
  threads: number = 1,
): Promise<string[]> {
  await mkdir(directory, { recursive: true })
  const file = join(directory, 'haproxy.cfg')
  await writeFile(file, `global\n  nbthread ${threads}\n  maxconn 16000\n  no strict-limits\n${config}`)
  return ['haproxy', '-db', '-f', file]
}

const CADDY: Contender = {
  name: 'caddy',
  missing: () => (isInstalled('caddy') ? undefined : 'caddy is not installed'),
  version: () => `${versionOf('caddy', ['version']).split(' ')[0] ?? '?'} (TLS of Go)`,
  speaks: () => true,
  env: ({ setup, directory }) => ({
    GOMAXPROCS: String(setup.threads),
    HOME: directory,
    XDG_DATA_HOME: directory,
    XDG_CONFIG_HOME: directory,
  }),
  async command({ setup, port, originPort, directory, certificate }) {
    await mkdir(directory, { recursive: true })
    const file = join(directory, 'Caddyfile')
    const config = `{
	admin off
	auto_https off
	log {
		level ERROR
	}
}
${setup.tls ? 'https://localhost' : 'http://'}:${port} {
	bind 127.0.0.1
	${setup.tls ? `tls ${certificate.certFile} ${certificate.keyFile}` : ''}
	reverse_proxy ${setup.upstream === 'h1' ? '' : 'h2c://'}127.0.0.1:${originPort} {
		${setup.upstream === 'h1' ? 'transport http {\n keepalive_idle_conns 1024\n keepalive_idle_conns_per_host 1024\n }' : ''}
	}
}
`
    await writeFile(file, config)
    return ['caddy', 'run', '--adapter', 'caddyfile', '--config', file]
  },
}

/** The command that runs one of the examples, built or from its source. */
export function exampleCommand(name: string, fromSource: boolean): string[] {
  const folder = join(root, 'examples', name)
  return fromSource
    ? [process.execPath, '--conditions=@cirque/source', join(folder, 'src/main.ts')]
    : [process.execPath, join(folder, 'dist/main.js')]
}

/** Why an example cannot run. */
export function exampleMissing(name: string, fromSource: boolean): string | undefined {
  const file = exampleCommand(name, fromSource).at(-1) as string
  return existsSync(file) ? undefined : `${file} does not exist`
}

/** Our own, as a user starts it: the built example, every default on. */
const CIRQUE: Contender = {
  name: 'cirque',
  missing: (fromSource) => exampleMissing('gatekeeper', fromSource),
  version() {
    const { node, openssl } = process.versions
    return `${packageVersion(join(root, 'packages/proxy'))} (Node.js ${node}, OpenSSL ${openssl})`
  },
  speaks: () => true,
  async command({ setup, port, originPort, directory, certificate, fromSource }) {
    const { certFile, keyFile } = certificate
    await mkdir(directory, { recursive: true })
    const file = join(directory, 'cirque.yaml')
    await writeFile(file, `threads: ${setup.threads}\n`)
    return [
      ...exampleCommand('gatekeeper', fromSource),
      ...['--ba', `127.0.0.1:${port}`, '--pa', `127.0.0.1:${originPort}`],
      ...(setup.threads > 1 ? ['-c', file] : []),
      ...(setup.tls ? ['--cert', certFile, '--key', keyFile] : []),
      ...(setup.upstream === 'h1' ? [] : ['--h2']),
    ]
  },
}

function packageVersion(directory: string): string {
  return (JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { version: string }).version
}

/** A proxy from npm, in a script of its own under `rivals/`. */
function fromNpm(name: string, packageName: string): Contender {
  const directory = fileURLToPath(new URL(`../node_modules/${packageName}`, import.meta.url))
  return {
    name,
    missing: () => (existsSync(directory) ? undefined : `${packageName} is not installed`),
    version: () => packageVersion(directory),
    speaks: ({ tls, upstream, threads }) => !tls && upstream === 'h1' && threads === 1,
    async command({ port, originPort }) {
      return [
        process.execPath,
        join(import.meta.dirname, `rivals/${name}.ts`),
        String(port),
        String(originPort),
      ]
    },
  }
}

/** Every contender, by name. */
export const contenders: ReadonlyMap<string, Contender> = new Map(
  [
    CIRQUE,
    NGINX,
    HAPROXY,
    CADDY,
    fromNpm('http-proxy', 'http-proxy'),
    fromNpm('httpxy', 'httpxy'),
    fromNpm('fast-proxy', 'fast-proxy'),
    fromNpm('fastify-http-proxy', '@fastify/http-proxy'),
  ].map((contender) => [contender.name, contender]),
)
