import { useState } from 'react';
import { asProblem, type Problem } from '../server/problem.ts';

export interface Action {
  /** What is under way, in words; null: nothing. */
  busy: string | null;
  /** What was done last, in words. */
  done: string | null;
  problem: Problem | null;
  start: (words: { busy: string; done: string }, work: () => Promise<unknown>) => void;
}

/** One change at a time, told while it runs and when it is over; `after` fetches what has changed. */
export function useAction(after: () => void): Action {
  const [state, setState] = useState<Omit<Action, 'start'>>({ busy: null, done: null, problem: null });
  const start: Action['start'] = ({ busy, done }, work) => {
    if (state.busy !== null) return;
    setState({ busy, done: null, problem: null });
    work()
      .then(() => setState({ busy: null, done, problem: null }))
      .catch((thrown: unknown) => setState({ busy: null, done: null, problem: asProblem(thrown) }))
      .finally(after);
  };
  return { ...state, start };
}
