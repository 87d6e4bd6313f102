/** Keeps one CPU busy for a part of the time, until it is ended. For `commonwatt calibrate`. */
import { parentPort, workerData } from 'node:worker_threads';
import { z } from 'zod';

if (!parentPort) throw new Error('this is a thread of commonwatt calibrate');
const { duty } = z.object({ duty: z.number().min(0).max(1) }).parse(workerData);

/** Short against what is measured, long against what the scheduler does. */
const roundMs = 40;
const bell = new Int32Array(new SharedArrayBuffer(4));
const numbers = Float64Array.from({ length: 4096 }, (_, index) => index + 0.5);

/** Multiplications, square roots and memory within the cache, as much of serving is. */
function compute(untilMs: number): void {
  while (performance.now() < untilMs)
    for (let index = 0; index < numbers.length; index++)
      numbers[index] = Math.sqrt((numbers[index] ?? 1) * 1.0000001 + 1);
}

for (;;) {
  const began = performance.now();
  compute(began + roundMs * duty);
  const restMs = began + roundMs - performance.now();
  if (restMs > 0) Atomics.wait(bell, 0, 0, restMs);
}
