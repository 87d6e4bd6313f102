/** Ctrl-C and SIGTERM: the first asks to finish what runs, a second one leaves at once. */
import type { Terminal } from './terminal.ts';

interface StopRequest {
  /** Aborted when the stop was asked for. */
  signal: AbortSignal;
  asked: Promise<void>;
}

/**
 * One Ctrl-C arrives several times under `npm start`: from the terminal and forwarded by npm. Repetitions within
 * this time are the same wish.
 */
const sameWishMs = 1_000;

export function stopRequest(
  terminal: Pick<Terminal, 'err'>,
  leave: (code: number) => void = process.exit,
): StopRequest {
  const controller = new AbortController();
  let firstAt = 0;
  let resolve = () => {};
  const asked = new Promise<void>((done) => {
    resolve = done;
  });
  const onSignal = () => {
    if (!controller.signal.aborted) {
      firstAt = performance.now();
      terminal.err('\nstopping: finishing what runs (again: leave at once)\n');
      controller.abort();
      resolve();
    } else if (performance.now() - firstAt > sameWishMs) leave(1);
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  // Never taken off again: a repetition that arrives while the process ends must not kill it. Listening for signals
  // keeps no process alive.
  return { signal: controller.signal, asked };
}
