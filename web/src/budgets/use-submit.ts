import { type FormEvent, useState } from 'react';
import { asProblem, type Problem } from '../server/problem.ts';

/** A form that stays open, with what was wrong, until the server has taken it. */
export function useSubmit(work: (form: FormData) => Promise<unknown>, done: () => void) {
  const [state, setState] = useState<{ busy: boolean; problem: Problem | null }>({
    busy: false,
    problem: null,
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (state.busy) return;
    setState({ busy: true, problem: null });
    work(new FormData(event.currentTarget))
      .then(done)
      .catch((thrown: unknown) => setState({ busy: false, problem: asProblem(thrown) }));
  };
  return { ...state, submit };
}
