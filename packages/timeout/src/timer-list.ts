import type { CoarseTimer } from './coarse-timer.ts'

/** A doubly linked list threaded through the timers themselves: append and remove in constant time, no allocation. */
export class TimerList {
  first: CoarseTimer | undefined = undefined
  last: CoarseTimer | undefined = undefined

  append(timer: CoarseTimer): void {
    const last = this.last
    timer.list = this
    timer.previous = last
    timer.next = undefined
    if (last === undefined) this.first = timer
    else last.next = timer
    this.last = timer
  }

  remove(timer: CoarseTimer): void {
    const { previous, next } = timer
    if (previous === undefined) this.first = next
    else previous.next = next
    if (next === undefined) this.last = previous
    else next.previous = previous
    timer.list = undefined
    timer.previous = undefined
    timer.next = undefined
  }
}
