// Writes data/nginx.json; data/README.md says how to run it.
import { writeFileSync } from 'node:fs'
import { startNginx } from './nginx.ts'
import { upstreamSets } from './upstream-sets.ts'

const KEY_COUNT = 200

const sets = Object.entries(upstreamSets)
await using nginx = await startNginx(sets.map(([, buckets]) => buckets))
const keys = Array.from({ length: KEY_COUNT }, (_, index) =>
  index % 2 ? `/golden/${index * 7919}?ä=${index}` : `${index * 104_729}`,
)
const golden: Record<string, Record<string, string>> = {}
for (const [set, [name]] of sets.entries()) {
  const chosen = await nginx.choose(
    set,
    keys.map((key) => Buffer.from(key)),
  )
  golden[name] = Object.fromEntries(keys.map((key, index) => [key, chosen[index] as string]))
}
writeFileSync(
  new URL('../data/nginx.json', import.meta.url),
  `${JSON.stringify({ nginx: nginx.version, chosen: golden }, null, 2)}\n`,
)
