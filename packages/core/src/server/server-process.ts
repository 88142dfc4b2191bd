import { readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import type { ServerConfiguration } from '../configuration/server-configuration.ts'

/** Writes the process id under a temporary name and renames it: a reader sees all of it or none. */
export function writePidFile(path: string): void {
  const temporary = `${path}.${process.pid}.tmp`
  rmSync(temporary, { force: true })
  writeFileSync(temporary, `${process.pid}\n`, { mode: 0o644, flag: 'wx' }) // follows nobody's symlink
  try {
    renameSync(temporary, path)
  } catch (error) {
    unlinkSync(temporary)
    throw error
  }
}

/** Removes the file if it still names this process: a successor may have written its own. */
export function removePidFile(path: string): void {
  try {
    if (readFileSync(path, 'utf8').trim() === String(process.pid)) unlinkSync(path)
  } catch {
    // Gone, or no longer ours to remove after the user changed. A stale file names a process that is gone.
  }
}

/** Becomes the configured group and user, in the only order that works, and makes sure of it. */
export function dropPrivileges(configuration: Pick<ServerConfiguration, 'user' | 'group'>): void {
  const { user, group } = configuration
  if (group === undefined) return
  const { setgid, setuid, setgroups, initgroups, geteuid } = process as NodeJS.Process & InitGroups
  if (!setgid || !setuid || !setgroups || !initgroups || !geteuid) {
    throw new Error('This platform cannot change user or group')
  }
  const gid = asId(group)
  try {
    if (user === undefined) setgroups([gid])
    else initgroups(asId(user), gid)
    setgid(gid)
    if (user !== undefined) setuid(asId(user))
  } catch (cause) {
    throw new Error(`Cannot become user "${user ?? ''}", group "${group}": ${(cause as Error).message}`, {
      cause,
    })
  }
  if (user !== undefined && asId(user) !== 0 && user !== 'root' && geteuid() === 0) {
    throw new Error(`Still root after becoming "${user}"`)
  }
}

/** Documented by Node.js, but absent from its type declarations. */
interface InitGroups {
  readonly initgroups?: (user: string | number, extraGroup: string | number) => void
}

function asId(account: string): string | number {
  return /^[0-9]+$/.test(account) ? Number(account) : account
}
