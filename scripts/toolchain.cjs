#!/usr/bin/env node
// Brings the pinned pnpm and a new enough Node.js, installs the workspace from
// its lockfile, then runs a command with both first on PATH:
//   node scripts/toolchain.cjs pnpm run check
//   node scripts/toolchain.cjs --build node examples/load-balancer/dist/main.js
// With --build it builds every package and example first.
// Plain old CommonJS without dependencies: any Node.js since 14.14 can start it.
'use strict'
const { spawn, spawnSync } = require('child_process')
const fs = require('fs')
const os = require('os')
const path = require('path')
const { runCommand } = require('./run-command.cjs')

const root = path.resolve(__dirname, '..')
const windows = process.platform === 'win32'
const manifest = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'))
const pnpmVersion = /^pnpm@([^+]+)/.exec(manifest.packageManager)[1]
const wantedNode = process.env.TOOLCHAIN_NODE || ''
const pinnedNode = wantedNode || fs.readFileSync(path.join(root, '.node-version'), 'utf8').trim()
const { digests } = JSON.parse(fs.readFileSync(path.join(__dirname, 'toolchain.json'), 'utf8'))
const home = process.env.TOOLCHAIN_DIR || path.join(root, '.toolchain')
const byHand = 'install Node.js 24.20+ or 26.6+ and pnpm ' + pnpmVersion + ' yourself'
// Downloads are large only once per checkout; between two signs of life at most this long.
const progressEveryMs = 5000
const outputCharactersMax = 1024 * 1024

class Failure extends Error {}

// What to undo when a signal ends this process before its command runs: a running tool, a half-filled folder.
let currentTool = null
let unfinished = ''
let commandRuns = false

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) {
  process.on(signal, () => {
    if (commandRuns) return
    if (currentTool !== null) currentTool.kill('SIGTERM')
    if (unfinished !== '') fs.rmSync(unfinished, { recursive: true, force: true, maxRetries: 3 })
    process.exit(128 + os.constants.signals[signal])
  })
}

function say(message) {
  process.stderr.write('toolchain: ' + message + '\n')
}

// The same range as "engines" in package.json.
function newEnough(version) {
  const m = /^v?(\d+)\.(\d+)/.exec(version)
  if (m === null) return false
  const major = Number(m[1])
  return (major === 24 && Number(m[2]) >= 20) || (major === 26 && Number(m[2]) >= 6) || major > 26
}

// Runs a program to its end. Resolves to its status, its error, and what it said on the streams that are pipes,
// which is shown as well unless it is to be quiet.
function run(file, args, options) {
  return new Promise((resolve) => {
    let output = ''
    const child = spawn(file, args, Object.assign({ cwd: root, stdio: ['ignore', 2, 'pipe'] }, options))
    currentTool = child
    for (const stream of [child.stdout, child.stderr]) {
      if (!stream) continue
      stream.on('data', (chunk) => {
        if (output.length < outputCharactersMax) output += chunk
        if (!options || !options.quiet) process.stderr.write(chunk)
      })
    }
    const end = (status, error) => {
      currentTool = null
      resolve({ status: status, error: error, output: output })
    }
    child.on('error', (error) => end(1, error))
    child.on('close', (status) => end(status, null))
  })
}

// Shows that a long step is alive: at once, then every few seconds until `done` is called.
function progress(message) {
  const startedAt = Date.now()
  say(message + ' ...')
  const timer = setInterval(() => {
    say(message + ': ' + Math.round((Date.now() - startedAt) / 1000) + ' s so far')
  }, progressEveryMs)
  return function done() {
    clearInterval(timer)
    return ((Date.now() - startedAt) / 1000).toFixed(1) + ' s'
  }
}

// npm, found through npm itself when it runs this script.
function npm(args, cwd) {
  const cli = process.env.npm_execpath || ''
  if (/npm-cli\.js$/.test(cli)) return run(process.execPath, [cli].concat(args), { cwd: cwd })
  return run('npm', args, { cwd: cwd, shell: windows })
}

// Says in one sentence why npm could not fetch a package.
function fetchFailure(id, result) {
  const what = 'cannot fetch ' + id + ': '
  if (result.error && result.error.code === 'ENOENT') return what + 'npm is not on PATH. Or ' + byHand + '.'
  if (/\b(E404|ETARGET|EBADPLATFORM)\b/.test(result.output)) {
    return what + 'the npm registry has no such package for this platform. Please ' + byHand + '.'
  }
  if (
    /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|FETCH_ERROR|ENOTCACHED|UND_ERR\w*)\b|network/i.test(
      result.output,
    )
  ) {
    return (
      what + 'the npm registry cannot be reached. Check the network or the proxy settings, or ' + byHand + '.'
    )
  }
  if (/\bENOSPC\b/.test(result.output)) return what + 'the disk is full.'
  const reason = result.error ? result.error.message : 'npm ended with status ' + result.status
  return what + reason + '. Try again, or ' + byHand + '.'
}

// npm has checked each tarball against the registry's digest; this compares the
// digest itself with the one in scripts/toolchain.json, where that lists the version.
function verify(dir) {
  const lock = path.join(dir, 'node_modules', '.package-lock.json')
  const packages = JSON.parse(fs.readFileSync(lock, 'utf8')).packages
  for (const key of Object.keys(packages)) {
    const id = key.replace(/^node_modules\//, '') + '@' + packages[key].version
    if (digests[id] !== undefined && digests[id] !== packages[key].integrity) {
      throw new Failure(id + ' is not the package this repository was tested with (its digest differs).')
    }
  }
}

// Installs one exact package into its own folder; atomic, so that two runs at once are safe.
async function provide(name, version, finish) {
  const dir = path.join(home, name + '-' + version)
  if (fs.existsSync(path.join(dir, 'ok'))) return dir
  const id = name + '@' + version
  fs.mkdirSync(home, { recursive: true })
  const tmp = fs.mkdtempSync(path.join(home, 'tmp-'))
  unfinished = tmp
  const done = progress('fetching ' + id + ' from the npm registry (only this once)')
  try {
    fs.writeFileSync(path.join(tmp, 'package.json'), '{"private":true}\n')
    const flags = [
      '--ignore-scripts',
      '--no-save',
      '--no-package-lock',
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
      '--fetch-retries=2',
      '--fetch-retry-mintimeout=1000',
      '--fetch-retry-maxtimeout=5000',
    ]
    const result = await npm(['install'].concat(flags, [id]), tmp)
    if (result.error || result.status !== 0) throw new Failure(fetchFailure(id, result))
    verify(tmp)
    await finish(path.join(tmp, 'node_modules', name))
    fs.writeFileSync(path.join(tmp, 'ok'), '')
    try {
      fs.renameSync(tmp, dir)
    } catch (error) {
      // Another run was faster; its copy is as good as ours.
      if (!fs.existsSync(path.join(dir, 'ok'))) throw error
    }
    say(id + ' is ready after ' + done())
  } finally {
    done()
    unfinished = ''
    fs.rmSync(tmp, { recursive: true, force: true })
  }
  return dir
}

function muslLibc() {
  if (process.platform !== 'linux') return false
  const report = process.report && process.report.getReport()
  return Boolean(report && report.header && report.header.glibcVersionRuntime === undefined)
}

// The pinned version; where the registry has it for other platforms only, the one that is listed for this one.
function nodeVersion(name) {
  if (wantedNode !== '' || digests[name + '@' + pinnedNode] !== undefined) return pinnedNode
  const listed = Object.keys(digests).find((id) => id.startsWith(name + '@'))
  return listed === undefined ? pinnedNode : listed.slice(name.length + 1)
}

async function nodeDir() {
  if (wantedNode === '' && newEnough(process.version)) return path.dirname(process.execPath)
  const system = windows ? 'win' : process.platform
  const prefix = system === 'darwin' && process.arch === 'arm64' ? 'node-bin' : 'node'
  const name = [prefix, system, process.arch].join('-')
  if (!Object.keys(digests).some((id) => id.startsWith(name + '@')) || muslLibc()) {
    const platform = process.platform + '-' + process.arch + (muslLibc() ? ' with musl' : '')
    throw new Failure(
      'this is Node.js ' +
        process.version +
        ', too old, and there is no pinned binary for ' +
        platform +
        ' to fetch. Please ' +
        byHand +
        '.',
    )
  }
  const dir = await provide(name, nodeVersion(name), (pkg) => {
    fs.rmSync(path.join(pkg, 'include'), { recursive: true, force: true }) // 67 MB of headers
  })
  return path.join(dir, 'node_modules', name, 'bin')
}

async function pnpmDir() {
  // Inside "pnpm run" the right pnpm is on PATH already.
  const agent = /^pnpm\/(\d+)\./.exec(process.env.npm_config_user_agent || '')
  if (agent !== null && agent[1] === pnpmVersion.split('.')[0]) return ''
  const found = spawnSync('pnpm', ['--version'], {
    cwd: root,
    shell: windows,
    stdio: ['ignore', 'pipe', 'ignore'],
    encoding: 'utf8',
    timeout: 20000,
    env: Object.assign({}, process.env, { COREPACK_ENABLE_DOWNLOAD_PROMPT: '0' }),
  })
  if (found.status === 0 && found.stdout.trim() === pnpmVersion) return ''
  const dir = await provide('pnpm', pnpmVersion, async (pkg) => {
    // What pnpm's own install script does: put the native binary in place.
    const placed = await run(process.execPath, ['install.js'], { cwd: pkg })
    if (placed.status !== 0) {
      throw new Failure(
        'pnpm ' +
          pnpmVersion +
          ' has no binary for ' +
          process.platform +
          '-' +
          process.arch +
          '. Please ' +
          byHand +
          '.',
      )
    }
  })
  return path.join(dir, 'node_modules', '.bin')
}

// The environment of everything that runs from here on.
function environment(bins) {
  const env = Object.assign({}, process.env)
  // Windows calls it "Path".
  const pathKey = Object.keys(env).find((k) => k.toUpperCase() === 'PATH') || 'PATH'
  env[pathKey] = bins
    .filter(Boolean)
    .concat(env[pathKey] || '')
    .join(path.delimiter)
  // Nothing of the outer npm or Node.js may leak into the tools.
  for (const key of Object.keys(env)) {
    if (/^npm_(package|lifecycle|command|execpath|node_execpath|config_user_agent)/.test(key)) delete env[key]
  }
  delete env.NODE
  env.TURBO_TELEMETRY_DISABLED = '1'
  env.DO_NOT_TRACK = '1'
  const version = spawnSync('node', ['--version'], { env: env, encoding: 'utf8', shell: windows })
  if (version.status !== 0) {
    throw new Failure('node does not run: ' + (version.error ? version.error.message : version.stderr.trim()))
  }
  env.TOOLCHAIN_NODE_VERSION = version.stdout.trim()
  return env
}

async function install(env) {
  const fresh = !fs.existsSync(path.join(root, 'node_modules', '.modules.yaml'))
  const done = fresh ? progress('installing the dependencies') : () => ''
  const level = fresh ? 'info' : 'warn'
  const args = ['install', '--frozen-lockfile', '--reporter=append-only', '--loglevel=' + level]
  const result = await run('pnpm', args, { env: env, stdio: ['ignore', 2, 2], shell: windows })
  done()
  if (result.error) throw new Failure('pnpm does not run: ' + result.error.message)
  if (result.status !== 0) {
    throw new Failure(
      'pnpm install failed, see above. A package that is not in the local store needs the npm registry: ' +
        'is the network up?',
    )
  }
}

// Turbo tells at length what it did; that is worth reading only when something broke.
async function build(env) {
  const done = progress('building')
  const options = { env: env, stdio: ['ignore', 'pipe', 'pipe'], shell: windows, quiet: true }
  const result = await run('turbo', ['run', 'build', '--output-logs=errors-only'], options)
  const seconds = done()
  if (result.error || result.status !== 0) {
    process.stderr.write(result.output)
    throw new Failure('the build failed' + (result.error ? ': ' + result.error.message : ', see above.'))
  }
  say('built in ' + seconds)
}

async function main() {
  const command = process.argv.slice(2)
  const wantsBuild = command[0] === '--build'
  if (wantsBuild) command.shift()
  const env = environment([await nodeDir(), await pnpmDir(), path.join(root, 'node_modules', '.bin')])
  await install(env)
  if (wantsBuild) await build(env)
  if (command.length === 0) return 0
  commandRuns = true
  return await runCommand(command[0], command.slice(1), { cwd: root, env: env })
}

main().then(
  (status) => process.exit(status),
  (error) => {
    process.stderr.write(
      '\ntoolchain: ' +
        (error instanceof Failure || error.code === 'ENOENT' ? error.message : error.stack) +
        '\n',
    )
    process.exit(1)
  },
)
