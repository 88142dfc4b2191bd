/**
 * Things that come and go all the time, such as open connections. Each has a place with a number, which whoever adds
 * it remembers.
 *
 * A `Set` would do, but costs dearly here: V8 gives it a new table after so many deletions, to which the old one refers.
 * Once one of them has become old, everything that was in any of the later ones is kept until the next full
 * collection, with all that hangs on it, and every quick collection copies what it should free.
 *
 * @example
 * const connections = new Places<Connection>()
 * connection.place = connections.add(connection)
 * connections.remove(connection.place, connection)
 */
export class Places<T extends object> {
  readonly #things: (T | undefined)[] = []
  /** Numbers of places that are free. */
  readonly #free: number[] = []

  /** How many things are here. */
  get size(): number {
    return this.#things.length - this.#free.length
  }

  /** Returns the number of its place. */
  add(thing: T): number {
    const place = this.#free.pop()
    if (place === undefined) return this.#things.push(thing) - 1
    this.#things[place] = thing
    return place
  }

  /** The thing in a place. */
  at(place: number): T | undefined {
    return this.#things[place]
  }

  /** Frees a place. Returns false, and does nothing, if `thing` is not there. */
  remove(place: number, thing: T): boolean {
    if (this.#things[place] !== thing) return false
    this.#things[place] = undefined
    this.#free.push(place)
    return true
  }

  /** The things of this moment, in no order. */
  values(): T[] {
    return this.#things.filter((thing) => thing !== undefined)
  }
}
