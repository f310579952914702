// tentacoli: `node tentacoli.js FOLDER serve|measure ADDRESS [nodelay]`, where FOLDER has it in its node_modules.
'use strict'

const net = require('net')
const path = require('path')
const readline = require('readline')

const [folder, role, address, nodelay] = process.argv.slice(2)
const installed = (name) => require(require.resolve(name, { paths: [path.join(folder, 'node_modules')] }))
const tentacoli = installed('tentacoli')
// What tentacoli itself is made of: it does not recognise the streams of today's Node.
const { Readable } = installed('readable-stream')

const FIELDS = { n: 1, name: 'world', excited: false }
const MIB = 1 << 20
const now = () => Number(process.hrtime.bigint()) / 1e9
const say = (words) => process.stdout.write(JSON.stringify(words) + '\n')

function connected (socket) {
  if (nodelay) socket.setNoDelay(true)
  const instance = tentacoli()
  socket.pipe(instance).pipe(socket)
  socket.on('error', () => {})
  return instance
}

// Data that overtakes the request (or reply) it belongs to stops tentacoli for ever: nothing more is read until somebody
// takes the data, and nobody can before the request is there. So the request gets a head start, which is not counted.
const HEAD_START = 200

function objects (count) {
  let number = 0
  let started = false
  function fill () {
    while (number < count && items.push({ ...FIELDS, n: number++ })) { /* until it is full */ }
    if (number === count) items.push(null)
  }
  const items = new Readable({
    objectMode: true,
    read () {
      if (started) fill()
      else setTimeout(() => { started = true; fill() }, HEAD_START)
    }
  })
  return items
}

function serve () {
  const server = net.createServer((socket) => {
    connected(socket).on('request', (req, reply) => {
      if (req.cmd === 'greet') {
        reply(null, { n: req.n, text: `hello ${req.name}${req.excited ? '!' : ''}` })
      } else if (req.cmd === 'items') {
        reply(null, { streams: { items: objects(req.count) } })
      } else {
        let size = 0
        req.streams.file.on('data', (chunk) => { size += chunk.length })
        req.streams.file.on('end', () => reply(null, { size }))
      }
    })
  })
  server.listen(0, '127.0.0.1', () => say({ address: String(server.address().port) }))
  process.stdin.on('end', () => process.exit(0))
  process.stdin.resume()
}

function figures (taken, seconds) {
  const sorted = Float64Array.from(taken).sort()
  const at = (share) => 1e3 * sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
  return { count: taken.length, rate: taken.length / seconds, p50: at(0.5), p99: at(0.99) }
}

function calls (instance, { concurrency, seconds }, done) {
  const taken = []
  const began = now()
  let busy = concurrency
  function ask () {
    const started = now()
    if (started >= began + seconds) {
      if (--busy === 0) done(figures(taken, now() - began))
      return
    }
    instance.request({ ns: 'bench', cmd: 'greet', ...FIELDS }, (error) => {
      if (error) throw error
      taken.push(now() - started)
      ask()
    })
  }
  for (let number = 0; number < concurrency; number++) ask()
}

function bulk (instance, { chunk, total }, done) {
  const blob = Buffer.alloc(chunk)
  const size = Math.floor(total / chunk) * chunk
  let left = size
  let began
  function fill () {
    while (left > 0) {
      left -= chunk
      if (!file.push(blob)) return
    }
    if (left === 0) file.push(null)
  }
  const file = new Readable({
    read () {
      if (began === undefined) {
        began = 0
        setTimeout(() => { began = now(); fill() }, HEAD_START)
      } else if (began) {
        fill()
      }
    }
  })
  instance.request({ ns: 'bench', cmd: 'upload', streams: { file } }, (error, reply) => {
    if (error || reply.size !== size) throw error || new Error(`${reply.size} of ${size}`)
    done({ rate: size / MIB / (now() - began) })
  })
}

function items (instance, { count }, done) {
  instance.request({ ns: 'bench', cmd: 'items', count }, (error, reply) => {
    if (error) throw error
    let found = 0
    let began
    reply.streams.items.on('data', () => {
      if (++found === 1) began = now()
      if (found === count) done({ rate: (count - 1) / (now() - began) })
    })
  })
}

function measure () {
  const socket = net.connect(Number(address), '127.0.0.1', () => {
    const instance = connected(socket)
    const measures = { calls, bulk, objects: items }
    say({ can: Object.keys(measures) })
    readline.createInterface({ input: process.stdin }).on('line', (line) => {
      const { measure: what, ...how } = JSON.parse(line)
      measures[what](instance, how, say)
    }).on('close', () => process.exit(0))
  })
}

role === 'serve' ? serve() : measure()
