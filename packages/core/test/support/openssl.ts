import { spawn, spawnSync } from 'node:child_process'

/** Whether there is an `openssl` to test with. Says so if not. */
export const hasOpenssl: boolean = spawnSync('openssl', ['version']).status === 0
if (!hasOpenssl) process.stdout.write('openssl is not installed: its tests are skipped\n')

/**
 * Connects with `openssl s_client` and gives all it said, after it left or was refused.
 *
 * @param command - What it is told once the server has told a line: `Q` to leave, `R` to renegotiate.
 */
export async function opensslClient(argv: readonly string[], command: 'Q' | 'R'): Promise<string> {
  const client = spawn('openssl', ['s_client', ...argv])
  let said = ''
  let isTold = false
  const listen = (data: Buffer): void => {
    said += data.toString('latin1')
    // The server's line, not that of a certificate.
    if (isTold || !/\{"version".*\}\n/.test(said)) return
    isTold = true
    client.stdin.write(`${command}\n`)
  }
  client.stdin.on('error', () => undefined)
  client.stdout.on('data', listen)
  client.stderr.on('data', listen)
  await new Promise((resolve) => client.once('close', resolve))
  return said
}
