import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * Writes a configuration for nginx, with one worker or more, that keeps everything below `directory`.
 *
 * @returns The command that starts it in the foreground.
 */
export async function nginxCommand(directory: string, http: string, workers: number = 1): Promise<string[]> {
  await mkdir(directory, { recursive: true })
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const config = `
    ${process.getuid?.() === 0 ? 'user root;' : ''}
    daemon off;
    worker_processes ${workers};
    worker_rlimit_nofile 65536;
    pid ${join(directory, 'nginx.pid')};
    error_log ${join(directory, 'error.log')} error;
    events { worker_connections 16384; }
    http {
      access_log off;
      keepalive_requests 1000000000;
      ${temporary.map((name) => `${name}_temp_path ${join(directory, name)};`).join('\n      ')}
      ${http}
    }
  `
  const file = join(directory, 'nginx.conf')
  await writeFile(file, config)
  return ['nginx', '-p', directory, '-e', join(directory, 'error.log'), '-c', file]
}
