import { afterEach, expect, it, vi } from 'vitest';
import { stopRequest } from './stop-request.ts';
import type { Terminal } from './terminal.ts';

const before = process.listeners('SIGTERM');
afterEach(() => {
  vi.restoreAllMocks();
  for (const listener of process.listeners('SIGTERM'))
    if (!before.includes(listener)) {
      process.off('SIGTERM', listener);
      process.off('SIGINT', listener);
    }
});

it('the first signal asks to finish, its echo within a second means the same, a later one leaves at once', async () => {
  const clock = vi.spyOn(performance, 'now').mockReturnValue(0);
  const leave = vi.fn();
  const said: string[] = [];
  const terminal: Pick<Terminal, 'err'> = { err: (text) => said.push(text) };
  const stop = stopRequest(terminal, leave);
  expect(stop.signal.aborted).toBe(false);
  process.emit('SIGINT');
  await stop.asked;
  expect(stop.signal.aborted).toBe(true);
  clock.mockReturnValue(400);
  process.emit('SIGINT');
  expect(leave).not.toHaveBeenCalled();
  clock.mockReturnValue(1_500);
  process.emit('SIGTERM');
  expect(leave).toHaveBeenCalledWith(1);
  expect(said).toHaveLength(1);
});
