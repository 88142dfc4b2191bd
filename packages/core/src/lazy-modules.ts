// Modules of Node.js that most servers never use, or not while they start: together they are an eighth of what this
// package takes to load, in each process and thread.

/** `node:child_process`: for daemons and upgrades. */
export function childProcesses(): typeof import('node:child_process') {
  return process.getBuiltinModule('node:child_process')
}

/** `node:zlib`: for those that compress. */
export function zlib(): typeof import('node:zlib') {
  return process.getBuiltinModule('node:zlib')
}

/** `node:inspector`: for the doctor. */
export function inspector(): typeof import('node:inspector') {
  return process.getBuiltinModule('node:inspector')
}
