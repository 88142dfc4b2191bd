/** Gives the first so many names as they are, and `other` for all that come later. */
export class BoundedNames {
  readonly #names: Set<string> = new Set()
  readonly #countMax: number

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  label(name: string): string {
    if (this.#names.has(name)) return name
    if (this.#names.size >= this.#countMax) return 'other'
    this.#names.add(name)
    return name
  }
}
