// Runs a command to its end, so that it gets each signal exactly once and never outlives its caller.
'use strict'
const { spawn } = require('child_process')
const os = require('os')

const windows = process.platform === 'win32'
// npm passes a Ctrl-C on to us although the terminal has done so already: one keystroke, one signal.
const sameSignalWithinMs = 500
// How long a command may take to drain when this process was killed under it.
const drainSeconds = 5

// Ends the command's process group when this process is killed without a chance to do so itself: its stdin ends then.
function watch(pid) {
  const script = 'read line || { kill -s TERM -- -$1; sleep ' + drainSeconds + '; kill -s KILL -- -$1; }'
  const watchdog = spawn('sh', ['-c', script, 'sh', String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  watchdog.on('error', () => {})
  watchdog.stdin.on('error', () => {})
  watchdog.unref()
  return watchdog
}

// The command lives in a process group of its own: a terminal sends Ctrl-C to every process of its group and npm
// repeats it, but a server takes a second one as "now, by force". Resolves to the exit status as a shell would
// report it: 130 for SIGINT, 143 for SIGTERM.
function runCommand(file, args, options) {
  return new Promise((resolve, reject) => {
    let pid
    const lastAt = {}
    function forward(signal) {
      const now = Date.now()
      const repeated = now - (lastAt[signal] || 0) < sameSignalWithinMs
      lastAt[signal] = now
      // On Windows the console tells the command itself.
      if (repeated || windows || pid === undefined) return
      try {
        // A closed terminal means "end"; a server would take SIGHUP itself as "reload".
        process.kill(-pid, signal === 'SIGHUP' ? 'SIGTERM' : signal)
      } catch (_) {
        // It has just ended.
      }
    }
    // Before the command starts: starting blocks, and a signal of that time is delivered right after it.
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) process.on(signal, forward)
    const child = spawn(
      file,
      args,
      Object.assign({ stdio: 'inherit', shell: windows, detached: !windows }, options),
    )
    pid = child.pid
    const watchdog = windows || pid === undefined ? null : watch(pid)
    child.on('error', (error) => {
      if (watchdog) watchdog.stdin.end('done\n')
      reject(error)
    })
    child.on('exit', (status, signal) => {
      if (watchdog) watchdog.stdin.end('done\n')
      resolve(status === null ? 128 + (os.constants.signals[signal] || 0) : status)
    })
  })
}

module.exports = { runCommand }
