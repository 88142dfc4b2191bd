export { CoarseTimer, now, sharedWheel, type TimerOwner } from './coarse-timer.ts'
export { SteppedWheel } from './stepped-wheel.ts'
export { sleep, TimeoutError, type TimeoutOptions, timeout } from './timeout.ts'
export { TIMER_MS_MAX, TimerWheel, type TimerWheelOptions } from './wheel.ts'
