import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { CounterLayout, CounterMemory } from './counter-memory.ts'
import type { Labels } from './labels.ts'

/** What the metrics of one set have in common. */
export interface SlotSource {
  readonly registry: Registry
  readonly layout: CounterLayout
  /** Upper bounds of histograms, in seconds. */
  readonly bounds: readonly number[]
  /** The counters of every thread. */
  memories(): readonly CounterMemory[]
}

/** A counter or gauge that is one slot. */
export function slotMetric(
  source: SlotSource,
  kind: 'counter' | 'gauge',
  name: string,
  help: string,
  slot: number,
): void {
  const total = () => sum(source.memories(), slot)
  const options = { name, help, registers: [source.registry] }
  if (kind === 'gauge') {
    new Gauge({
      ...options,
      collect() {
        this.set(total())
      },
    })
  } else {
    new Counter({
      ...options,
      collect() {
        this.reset()
        this.inc(total())
      },
    })
  }
}

/** A counter with two labels whose values are known; shows those that have counted. */
export function tableCounter(
  source: SlotSource,
  name: string,
  help: string,
  at: number,
  [first, rows]: readonly [string, Labels],
  [second, columns]: readonly [string, Labels],
): void {
  new Counter({
    name,
    help,
    labelNames: [first, second],
    registers: [source.registry],
    collect() {
      this.reset()
      rows.forEach((row, rowIndex) => {
        columns.forEach((column, columnIndex) => {
          const count = sum(source.memories(), at + rowIndex * columns.length + columnIndex)
          if (count > 0) this.inc({ [first]: row, [second]: column }, count)
        })
      })
    },
  })
}

/** A counter of upstreams, which are rows, with one label whose values are known. */
export function upstreamCounter(
  source: SlotSource,
  name: string,
  help: string,
  label: string,
  columns: Labels,
): void {
  new Counter({
    name,
    help,
    labelNames: ['upstream', label],
    registers: [source.registry],
    collect() {
      this.reset()
      for (const memory of source.memories()) {
        memory.forEachUpstream((upstream, row) => {
          const at = source.layout.upstream(row)
          columns.forEach((column, index) => {
            const count = memory.slots[at + index] as number
            if (count > 0) this.inc({ upstream, [label]: column }, count)
          })
        })
      }
    },
  })
}

/** Which rows of slots a histogram shows, and by what name: all those of one name are added up. */
export type HistogramRows = (memory: CounterMemory, show: (value: string, at: number) => void) => void

/** A sample as prom-client writes it. */
interface Sample {
  readonly metricName: string
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
}

/** A histogram with one label that is filled from slots: prom-client's own can only be observed one by one. */
export class SlotHistogram extends Histogram<string> {
  readonly #source: SlotSource
  readonly #label: string
  readonly #rows: HistogramRows
  readonly #about: { readonly name: string; readonly help: string }

  constructor(source: SlotSource, name: string, help: string, label: string, rows: HistogramRows) {
    super({ name, help, labelNames: [label], buckets: [...source.bounds], registers: [source.registry] })
    this.#source = source
    this.#label = label
    this.#rows = rows
    this.#about = { name, help }
  }

  override async get(): Promise<Awaited<ReturnType<Histogram<string>['get']>>> {
    const values = this.#samples()
    return { ...this.#about, type: 'histogram', aggregator: 'sum', values } as unknown as Awaited<
      ReturnType<Histogram<string>['get']>
    >
  }

  /** What a registry asks first, where it is there. */
  getForPromString(): ReturnType<Histogram<string>['get']> {
    return this.get()
  }

  #samples(): Sample[] {
    const { layout, memories } = this.#source
    const totals = new Map<string, Float64Array>()
    for (const memory of memories()) {
      this.#rows(memory, (value, at) => {
        const total = totals.get(value) ?? new Float64Array(layout.histogramSlots)
        for (let index = 0; index < total.length; index++) {
          total[index] = (total[index] as number) + (memory.slots[at + index] as number)
        }
        totals.set(value, total)
      })
    }
    const samples: Sample[] = []
    for (const [value, total] of totals) this.#addSamples(samples, value, total)
    return samples
  }

  #addSamples(samples: Sample[], value: string, total: Float64Array): void {
    const { name } = this.#about
    const { bounds } = this.#source
    const shared = { [this.#label]: value }
    let count = 0
    const buckets = bounds.map((le, index) => {
      count += total[index] as number
      return { metricName: `${name}_bucket`, labels: { le, ...shared }, value: count }
    })
    count += total[bounds.length] as number
    if (count === 0) return
    samples.push(
      ...buckets,
      { metricName: `${name}_bucket`, labels: { le: '+Inf', ...shared }, value: count },
      { metricName: `${name}_sum`, labels: shared, value: total[bounds.length + 1] as number },
      { metricName: `${name}_count`, labels: shared, value: count },
    )
  }
}

function sum(memories: readonly CounterMemory[], slot: number): number {
  let total = 0
  for (const { slots } of memories) total += slots[slot] as number
  return total
}
