import { close, write } from 'node:fs'
import { SUCCESSOR_MARK } from './launch.ts'

let reportFd: number | undefined
let isChecked = false
let isClaimed = false
let hasReported = false

/** True in the process that a launcher started to take over from a running server. */
export function isSuccessor(): boolean {
  if (!isChecked) {
    isChecked = true
    const mark = process.env[SUCCESSOR_MARK]
    delete process.env[SUCCESSOR_MARK] // this process's own children are no successors
    if (mark !== undefined && /^\d+$/.test(mark) && process.channel !== undefined) reportFd = Number(mark)
    return reportFd !== undefined
  }
  return reportFd !== undefined
}

/** True once, in a successor: for the server that takes over. Another one in the same process starts as usual. */
export function claimSuccession(): boolean {
  if (!isSuccessor() || isClaimed) return false
  isClaimed = true
  return true
}

/** Tells the launcher, once, how it went: `undefined` for well. Resolves when the launcher has it, or is gone. */
export function reportSuccession(error: string | undefined): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const fd = reportFd
  if (fd === undefined || hasReported) return Promise.resolve()
  hasReported = true
  const text = error === undefined ? 'ready\n' : `error ${error.replaceAll(/\s+/g, ' ').slice(0, 8192)}\n`
  write(fd, text, () => close(fd, () => resolve()))
  return promise
}
