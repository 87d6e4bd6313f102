import type { WhoAmI } from '../server/shapes.ts';
import { Logo } from './logo.tsx';

export function Header({ who, onSignOut }: { who: WhoAmI | null; onSignOut: () => void }) {
  return (
    <header className="top">
      <div className="brand">
        <Logo />
        <h1>Commonwatt</h1>
      </div>
      <p className="who" aria-live="polite">
        {who ? (
          <>
            <strong>{who.organisation}</strong> <span className="quiet">{`${who.member} · ${who.role}`}</span>
          </>
        ) : (
          <span className="quiet">…</span>
        )}
      </p>
      <button type="button" className="secondary" onClick={onSignOut}>
        Sign out
      </button>
    </header>
  );
}
