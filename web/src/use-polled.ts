import { useCallback, useEffect, useRef, useState } from 'react';
import { asProblem, isAbort, type Problem } from './server/problem.ts';

export interface Polled<T> {
  /** The newest answer; stays while a later call fails. */
  data: T | null;
  /** Why the newest call failed; null when it did not. */
  problem: Problem | null;
  reload: () => void;
}

/**
 * Calls `load` at once and then `everyMs` after each answer (null: only once). A hidden tab asks nothing: nobody
 * looks, so nothing is computed.
 */
export function usePolled<T>(load: (signal: AbortSignal) => Promise<T>, everyMs: number | null): Polled<T> {
  const [state, setState] = useState<{ data: T | null; problem: Problem | null }>({
    data: null,
    problem: null,
  });
  const askNow = useRef(() => {});
  const reload = useCallback(() => askNow.current(), []);
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let due = false;
    const next = () => {
      if (everyMs === null || stop.signal.aborted) return;
      // An extra `reload` in between must not leave two rounds running.
      clearTimeout(timer);
      timer = setTimeout(() => {
        due = document.hidden;
        if (!due) ask();
      }, everyMs);
    };
    const ask = () => {
      due = false;
      clearTimeout(timer);
      load(stop.signal)
        .then((data) => setState({ data, problem: null }))
        .catch((thrown: unknown) => {
          if (!isAbort(thrown)) setState(({ data }) => ({ data, problem: asProblem(thrown) }));
        })
        .finally(next);
    };
    const shown = () => {
      if (due && !document.hidden) ask();
    };
    document.addEventListener('visibilitychange', shown);
    askNow.current = ask;
    ask();
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', shown);
    };
  }, [load, everyMs]);
  return { ...state, reload };
}
