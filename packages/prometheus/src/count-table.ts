import { Counter, type Registry } from 'prom-client'

/**
 * A counter with two labels that costs two map look-ups to add to; prom-client hears of it at each scrape. Its size is
 * bounded by those who choose the labels.
 */
export class CountTable {
  readonly #rows: Map<string, Map<string | number, number>> = new Map()

  constructor(registry: Registry, name: string, help: string, labels: readonly [string, string]) {
    const rows = this.#rows
    const [first, second] = labels
    new Counter({
      name,
      help,
      labelNames: [first, second],
      registers: [registry],
      collect() {
        for (const [row, cells] of rows) {
          for (const [column, count] of cells) {
            if (count === 0) continue
            this.inc({ [first]: row, [second]: column }, count)
            cells.set(column, 0)
          }
        }
      },
    })
  }

  increment(row: string, column: string | number): void {
    let cells = this.#rows.get(row)
    if (cells === undefined) {
      cells = new Map()
      this.#rows.set(row, cells)
    }
    cells.set(column, (cells.get(column) ?? 0) + 1)
  }
}
