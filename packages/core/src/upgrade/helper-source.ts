/**
 * The program of the helper, run with `node -e` as a child of the old server: the installed files may already be
 * those of the new version, or gone. It has the connection to the new server as its IPC channel (fd 3), and every
 * listening socket twice, from fd 4 on. Standard input brings the job, then `commit`; its end means that the old
 * server is dead, and then the helper finishes alone. Standard output says `ready`, or why it fails.
 *
 * A listener is wrapped, sent and closed in one turn of the event loop, so that the helper never accepts or receives. The
 * second copies keep every socket open until the commit, whatever happens to the others; listening on them again
 * sets the backlog, for which a received listener has only Node's default.
 */
export const HELPER_SOURCE: string = `
'use strict'
const { Server } = require('node:net')
const { createSocket } = require('node:dgram')
let job, input = '', phase = 'want', index = -1, isAsked = false, isOrphan = false
const say = (text) => { try { require('node:fs').writeSync(1, text + '\\n') } catch {} }
const end = (code, text) => { if (text) say(text); process.exit(code) }
const next = () => {
  index += 1
  if (index === job.listeners.length) { phase = 'ready'; process.send({ t: 'end', n: index }); return }
  const { key, backlog, foreign, datagrams } = job.listeners[index]
  const server = datagrams ? createSocket(datagrams) : new Server()
  if (datagrams) server.bind({ fd: 4 + index })
  else server.listen({ fd: 4 + index }, backlog)
  process.send({ t: 'fd', i: index, key, foreign }, server)
  server.close()
}
const begin = () => {
  if (!job || !isAsked) return
  phase = 'fds'
  process.send({ t: 'state', state: job.state })
  next()
}
const commit = () => { phase = 'done'; process.send({ t: 'commit' }, () => end(0, 'done')) }
const setBacklogs = (wanted) => job.listeners.forEach((listener, at) => {
  if (listener.datagrams) return
  const backlog = Array.isArray(wanted) && wanted[at] > 0 ? wanted[at] : listener.backlog
  new Server().listen({ fd: 4 + job.listeners.length + at }, backlog).close()
})
const onReady = (message) => {
  phase = 'commit'
  setBacklogs(message.backlogs)
  if (isOrphan) commit()
  else say('ready')
}
process.on('disconnect', () => end(3, 'the new server went away (phase ' + phase + ')'))
process.on('message', (message) => {
  if (message.t === 'want' && phase === 'want' && !isAsked) { isAsked = true; begin() }
  else if (message.t === 'got' && phase === 'fds' && message.i === index) next()
  else if (message.t === 'ready' && phase === 'ready') onReady(message)
  else if (message.t === 'fail') end(4, 'the new server failed: ' + message.err)
  else end(5, 'protocol error in phase ' + phase)
})
process.stdin.setEncoding('utf8')
process.stdin.on('data', (chunk) => {
  input += chunk
  for (let at = input.indexOf('\\n'); at !== -1; at = input.indexOf('\\n')) {
    const text = input.slice(0, at)
    input = input.slice(at + 1)
    if (!job) {
      job = JSON.parse(text)
      setTimeout(() => end(6, 'the new server took too long'), job.timeoutMs)
      begin()
    } else if (text === 'commit' && phase === 'commit') commit()
  }
})
process.stdin.on('end', () => {
  if (!job) end(7, 'the old server went away')
  isOrphan = true
  if (phase === 'commit') commit()
})
`
