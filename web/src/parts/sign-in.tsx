import { type FormEvent, useState } from 'react';
import type { Problem } from '../server/problem.ts';
import { Logo } from './logo.tsx';
import { ProblemNote } from './problem-note.tsx';

export function SignIn({ onKey, problem }: { onKey: (key: string) => void; problem?: Problem }) {
  const [key, setKey] = useState('');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (key.trim()) onKey(key.trim());
  };
  return (
    <main className="sign-in">
      <form className="card" onSubmit={submit}>
        <div className="brand">
          <Logo />
          <h1>Commonwatt</h1>
        </div>
        <p>Models trained once, shared through an API, with every watt accounted for.</p>
        {problem && <ProblemNote problem={problem} />}
        <label htmlFor="api-key">API key</label>
        <input
          id="api-key"
          type="password"
          autoComplete="off"
          spellCheck={false}
          placeholder="cw_…"
          required
          aria-describedby="api-key-help"
          value={key}
          onChange={(event) => setKey(event.target.value)}
        />
        <p id="api-key-help" className="quiet">
          Kept in this tab only. The first start prints one and writes it to <code>example.json</code> in the
          data folder.
        </p>
        <button type="submit">Sign in</button>
      </form>
    </main>
  );
}
