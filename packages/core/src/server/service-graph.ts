import type { Service } from './service.ts'

/** A service's place in its server; what `addService` returns. */
export interface ServiceHandle {
  readonly name: string
  /**
   * Starts this service only when `dependency` is ready, and drains it before `dependency`.
   *
   * @throws {Error} If that would close a circle (the error names it), or the server has started.
   * @throws {TypeError} If the handle belongs to another server.
   */
  addDependency(dependency: ServiceHandle): void
  /** The same for several. */
  addDependencies(dependencies: Iterable<ServiceHandle>): void
}

/** The services of one server and what each waits for. */
export class ServiceGraph {
  readonly #nodes: ServiceNode[] = []
  #isSealed = false

  get nodes(): readonly ServiceNode[] {
    return this.#nodes
  }

  add(service: Service): ServiceHandle {
    this.assertOpen()
    for (const method of ['start', 'drain', 'destroy'] as const) {
      if (typeof service?.[method] === 'function') continue
      const hasOne =
        typeof (service as { backgroundService?: unknown } | null)?.backgroundService === 'function'
      throw new TypeError(
        `A service needs a method ${method}()${hasOne ? '; give what backgroundService() returns' : ''}`,
      )
    }
    if (typeof service.name !== 'string' || service.name === '') throw new TypeError('A service needs a name')
    if (this.#nodes.some((node) => node.service === service)) {
      throw new Error(`Service "${service.name}" was added twice`)
    }
    const node = new ServiceNode(this, service)
    this.#nodes.push(node)
    return node
  }

  /** No more services or dependencies after this. */
  seal(): void {
    this.#isSealed = true
  }

  assertOpen(): void {
    if (this.#isSealed) throw new Error('The server has started and takes no more services or dependencies')
  }
}

/** One service with its edges, in both directions. */
export class ServiceNode implements ServiceHandle {
  readonly service: Service
  readonly dependencies: Set<ServiceNode> = new Set()
  readonly dependents: Set<ServiceNode> = new Set()
  readonly #graph: ServiceGraph

  constructor(graph: ServiceGraph, service: Service) {
    this.#graph = graph
    this.service = service
  }

  get name(): string {
    return this.service.name
  }

  addDependency(dependency: ServiceHandle): void {
    this.#graph.assertOpen()
    if (!(dependency instanceof ServiceNode) || dependency.#graph !== this.#graph) {
      throw new TypeError('A dependency must be a handle that addService of the same server returned')
    }
    const path = pathBetween(dependency, this)
    if (path !== undefined) {
      const circle = [this, ...path].map((node) => `"${node.name}"`).join(' → ')
      throw new Error(`Services cannot wait for each other: ${circle}`)
    }
    this.dependencies.add(dependency)
    dependency.dependents.add(this)
  }

  addDependencies(dependencies: Iterable<ServiceHandle>): void {
    for (const dependency of dependencies) this.addDependency(dependency)
  }
}

/** The way from one service to another along dependencies, both included; `undefined` if there is none. */
function pathBetween(from: ServiceNode, to: ServiceNode): ServiceNode[] | undefined {
  const cameFrom = new Map<ServiceNode, ServiceNode | undefined>([[from, undefined]])
  for (const node of cameFrom.keys()) {
    if (node === to) {
      const path: ServiceNode[] = []
      for (let at: ServiceNode | undefined = node; at !== undefined; at = cameFrom.get(at)) path.unshift(at)
      return path
    }
    for (const next of node.dependencies) if (!cameFrom.has(next)) cameFrom.set(next, node)
  }
  return undefined
}
