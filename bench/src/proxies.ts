import { existsSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isInstalled, versionOf } from './child.ts'
import { nginxCommand } from './nginx.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const gatekeeper = join(root, 'examples/gatekeeper')

/** What a contender needs to know to start. */
interface StartContext {
  port: number
  originPort: number
  /** A folder of its own for configuration and temporary files. */
  directory: string
  fromSource: boolean
}

/** One line of the comparison. */
export interface Contender {
  name: string
  /** Why it cannot run here, or `undefined` when it can. */
  missing(fromSource: boolean): string | undefined
  version(): string
  /** Writes its configuration and returns the command that runs it in the foreground. */
  command(context: StartContext): Promise<string[]>
  /** Environment that holds it to one thread, where its configuration cannot. */
  env?(context: StartContext): NodeJS.ProcessEnv
}

const NGINX: Contender = {
  name: 'nginx',
  missing: () => (isInstalled('nginx') ? undefined : 'nginx is not installed'),
  version: () => versionOf('nginx', ['-v']).replace(/^.*\//, ''),
  command: ({ port, originPort, directory }) =>
    nginxCommand(
      directory,
      // Buffering as it comes, but no detour through the disk when a client is slower than the origin.
      `upstream origin { server 127.0.0.1:${originPort}; keepalive 1024; keepalive_requests 1000000000; }
       keepalive_timeout 600s;
       server {
         listen 127.0.0.1:${port} backlog=4096;
         location / {
           proxy_pass http://origin;
           proxy_http_version 1.1;
           proxy_set_header Connection "";
           proxy_max_temp_file_size 0;
         }
       }`,
    ),
}

const HAPROXY: Contender = {
  name: 'haproxy',
  missing: () => (isInstalled('haproxy') ? undefined : 'haproxy is not installed'),
  version: () => /version (\S+)/.exec(versionOf('haproxy', ['-v']))?.[1] ?? '?',
  async command({ port, originPort, directory }) {
    await mkdir(directory, { recursive: true })
    const file = join(directory, 'haproxy.cfg')
    const config = `global
  nbthread 1
  maxconn 16000
  no strict-limits
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 60s
  timeout http-keep-alive 600s
  option http-keep-alive
  http-reuse always
frontend front
  bind 127.0.0.1:${port} backlog 4096
  default_backend back
backend back
  server origin 127.0.0.1:${originPort}
`
    await writeFile(file, config)
    return ['haproxy', '-db', '-f', file]
  },
}

const CADDY: Contender = {
  name: 'caddy',
  missing: () => (isInstalled('caddy') ? undefined : 'caddy is not installed'),
  version: () => versionOf('caddy', ['version']).split(' ')[0] ?? '?',
  env: ({ directory }) => ({
    GOMAXPROCS: '1',
    HOME: directory,
    XDG_DATA_HOME: directory,
    XDG_CONFIG_HOME: directory,
  }),
  async command({ port, originPort, directory }) {
    await mkdir(directory, { recursive: true })
    const file = join(directory, 'Caddyfile')
    const config = `{
	admin off
	auto_https off
	log {
		level ERROR
	}
}
http://:${port} {
	bind 127.0.0.1
	reverse_proxy 127.0.0.1:${originPort} {
		transport http {
			keepalive_idle_conns 1024
			keepalive_idle_conns_per_host 1024
		}
	}
}
`
    await writeFile(file, config)
    return ['caddy', 'run', '--adapter', 'caddyfile', '--config', file]
  },
}

/** Our own, as a user starts it: the built example, every default on. */
const CIRQUE: Contender = {
  name: 'cirque',
  missing(fromSource) {
    const file = join(gatekeeper, fromSource ? 'src/main.ts' : 'dist/main.js')
    return existsSync(file) ? undefined : `${file} does not exist`
  },
  version: () => packageVersion(join(root, 'packages/proxy')),
  async command({ port, originPort, fromSource }) {
    const entry = fromSource
      ? ['--conditions=@cirque/source', join(gatekeeper, 'src/main.ts')]
      : [join(gatekeeper, 'dist/main.js')]
    return [process.execPath, ...entry, '--ba', `127.0.0.1:${port}`, '--pa', `127.0.0.1:${originPort}`]
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
