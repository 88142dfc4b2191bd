#!/usr/bin/env node
// Brings the pinned pnpm and a new enough Node.js, installs the workspace from
// its lockfile, then runs a command with both first on PATH:
//   node scripts/toolchain.cjs pnpm run check
// Plain old CommonJS without dependencies: any Node.js since 14.14 can start it.
'use strict'
const { spawnSync } = require('child_process')
const fs = require('fs')
const path = require('path')

const root = path.resolve(__dirname, '..')
const windows = process.platform === 'win32'
const manifest = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'))
const pnpmVersion = /^pnpm@([^+]+)/.exec(manifest.packageManager)[1]
const wantedNode = process.env.TOOLCHAIN_NODE || ''
const pinnedNode = wantedNode || fs.readFileSync(path.join(root, '.node-version'), 'utf8').trim()
const digests = JSON.parse(fs.readFileSync(path.join(__dirname, 'toolchain.json'), 'utf8')).digests
const home = process.env.TOOLCHAIN_DIR || path.join(root, '.toolchain')

function fail(message) {
  process.stderr.write('\ntoolchain: ' + message + '\n')
  process.exit(1)
}

// The same range as "engines" in package.json.
function newEnough(version) {
  const m = /^v?(\d+)\.(\d+)/.exec(version)
  if (m === null) return false
  const major = Number(m[1])
  return (major === 24 && Number(m[2]) >= 20) || (major === 26 && Number(m[2]) >= 6) || major > 26
}

function run(file, args, options) {
  return spawnSync(file, args, Object.assign({ stdio: 'inherit', cwd: root, shell: false }, options))
}

// npm, found through npm itself when it runs this script.
function npm(args, cwd) {
  const cli = process.env.npm_execpath || ''
  const options = { cwd: cwd, stdio: ['ignore', 2, 2] }
  if (/npm-cli\.js$/.test(cli)) return run(process.execPath, [cli].concat(args), options)
  return run('npm', args, Object.assign(options, { shell: windows }))
}

// npm has checked each tarball against the registry's digest; this compares the
// digest itself with the one in scripts/toolchain.json, where that lists the version.
function verify(dir) {
  const lock = path.join(dir, 'node_modules', '.package-lock.json')
  const packages = JSON.parse(fs.readFileSync(lock, 'utf8')).packages
  for (const key of Object.keys(packages)) {
    const id = key.replace(/^node_modules\//, '') + '@' + packages[key].version
    if (digests[id] !== undefined && digests[id] !== packages[key].integrity) {
      fs.rmSync(dir, { recursive: true, force: true })
      fail(id + ' is not the package this repository was tested with (its digest differs).')
    }
  }
}

// Installs one exact package into its own folder; atomic, so that two runs at once are safe.
function provide(name, version, finish) {
  const dir = path.join(home, name + '-' + version)
  if (fs.existsSync(path.join(dir, 'ok'))) return dir
  process.stderr.write('toolchain: fetching ' + name + ' ' + version + '\n')
  fs.mkdirSync(home, { recursive: true })
  const tmp = fs.mkdtempSync(path.join(home, 'tmp-'))
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
  const done = npm(['install'].concat(flags, [name + '@' + version]), tmp)
  if (done.error || done.status !== 0) {
    fs.rmSync(tmp, { recursive: true, force: true })
    fail(
      'could not fetch ' +
        name +
        '@' +
        version +
        ' from the npm registry (' +
        (done.error ? done.error.message : 'npm exit ' + done.status) +
        ').\n' +
        'Check the network, or install Node.js 24.20+ or 26.6+ and pnpm ' +
        pnpmVersion +
        ' yourself.',
    )
  }
  verify(tmp)
  finish(path.join(tmp, 'node_modules', name))
  fs.writeFileSync(path.join(tmp, 'ok'), '')
  try {
    fs.renameSync(tmp, dir)
  } catch (error) {
    fs.rmSync(tmp, { recursive: true, force: true })
    if (!fs.existsSync(path.join(dir, 'ok'))) throw error
  }
  return dir
}

function nodeDir() {
  if (wantedNode === '' && newEnough(process.version)) return path.dirname(process.execPath)
  const os = windows ? 'win' : process.platform
  const prefix = os === 'darwin' && process.arch === 'arm64' ? 'node-bin' : 'node'
  const name = [prefix, os, process.arch].join('-')
  const dir = provide(name, pinnedNode, (pkg) => {
    fs.rmSync(path.join(pkg, 'include'), { recursive: true, force: true }) // 67 MB of headers
  })
  return path.join(dir, 'node_modules', name, 'bin')
}

function pnpmDir() {
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
  const dir = provide('pnpm', pnpmVersion, (pkg) => {
    // What pnpm's own install script does: put the native binary in place.
    const placed = run(process.execPath, ['install.js'], { cwd: pkg, stdio: ['ignore', 2, 2] })
    if (placed.status !== 0) fail('pnpm ' + pnpmVersion + ' has no binary for this platform.')
  })
  return path.join(dir, 'node_modules', '.bin')
}

const env = Object.assign({}, process.env)
const bins = [nodeDir(), pnpmDir(), path.join(root, 'node_modules', '.bin')].filter(Boolean)
// Windows calls it "Path".
const pathKey = Object.keys(env).find((k) => k.toUpperCase() === 'PATH') || 'PATH'
env[pathKey] = bins.concat(env[pathKey] || '').join(path.delimiter)
// Nothing of the outer npm or Node.js may leak into the tools.
for (const key of Object.keys(env)) {
  if (/^npm_(package|lifecycle|command|execpath|node_execpath|config_user_agent)/.test(key)) delete env[key]
}
delete env.NODE
env.TURBO_TELEMETRY_DISABLED = '1'
env.DO_NOT_TRACK = '1'

const version = spawnSync('node', ['--version'], { env: env, encoding: 'utf8', shell: windows })
if (version.status !== 0)
  fail('node does not run: ' + (version.error ? version.error.message : version.stderr))
env.TOOLCHAIN_NODE_VERSION = version.stdout.trim()

const installed = run('pnpm', ['install', '--frozen-lockfile', '--reporter=append-only', '--loglevel=warn'], {
  env: env,
  stdio: ['ignore', 2, 2],
  shell: windows,
})
if (installed.error || installed.status !== 0) {
  fail('pnpm install failed' + (installed.error ? ': ' + installed.error.message : '.'))
}

const command = process.argv.slice(2)
if (command.length === 0) process.exit(0)
process.on('SIGINT', () => {}) // the child decides
const result = run(command[0], command.slice(1), { env: env, shell: windows })
if (result.error) fail(command[0] + ': ' + result.error.message)
process.exit(result.status === null ? 1 : result.status)
