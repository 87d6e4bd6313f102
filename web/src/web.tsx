/**
 * The page at `/`: live impact, a playground for the shared model, what sharing saves, budgets, what is done about it,
 * what is served, the models in reach, and the books as files.
 *
 * In: an API key (typed once, or in the address's fragment) and the HTTP API of this very server. Out: what the
 * caller may see, nothing more. Promise: every figure says whether it was measured, estimated or assumed.
 */
import { useCallback, useMemo, useState } from 'react';
import { ActingSection } from './acting/acting.tsx';
import { BudgetsSection } from './budgets/budgets.tsx';
import { DeploymentsSection } from './deployments/deployments.tsx';
import { DownloadsSection } from './downloads/downloads.tsx';
import { Header } from './parts/header.tsx';
import { ImpactSection } from './parts/impact.tsx';
import { LiveSection } from './parts/live.tsx';
import { ModelsSection } from './parts/models.tsx';
import { ProblemNote } from './parts/problem-note.tsx';
import { SignIn } from './parts/sign-in.tsx';
import { PlaygroundSection } from './playground/playground.tsx';
import { connect, type Server } from './server/server.ts';
import type { GroupBy, WhoAmI } from './server/shapes.ts';
import { forgetKey, openSession, rememberKey } from './session.ts';
import { usePolled } from './use-polled.ts';

export function Web() {
  const [apiKey, setApiKey] = useState(openSession);
  const signIn = useCallback((key: string) => {
    rememberKey(key);
    setApiKey(key);
  }, []);
  const signOut = useCallback(() => {
    forgetKey();
    setApiKey(null);
  }, []);
  if (apiKey === null) return <SignIn onKey={signIn} />;
  return <SignedIn key={apiKey} apiKey={apiKey} onSignIn={signIn} onSignOut={signOut} />;
}

function SignedIn(props: { apiKey: string; onSignIn: (key: string) => void; onSignOut: () => void }) {
  const server = useMemo(() => connect(props.apiKey), [props.apiKey]);
  const who = usePolled(server.whoami, null);
  if (who.problem?.status === 401) return <SignIn onKey={props.onSignIn} problem={who.problem} />;
  return (
    <>
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <Header who={who.data} onSignOut={props.onSignOut} />
      <main id="main">
        {who.problem && <ProblemNote problem={who.problem} onRetry={who.reload} />}
        {who.data && <Sections server={server} who={who.data} />}
      </main>
      <footer className="foot">
        <a href="/docs">API reference</a>
        <a href="/api/openapi.json">OpenAPI</a>
        <a href="/metrics">Metrics</a>
      </footer>
    </>
  );
}

function Sections({ server, who }: { server: Server; who: WhoAmI }) {
  const models = usePolled(server.models, 15_000);
  const [groupBy, setGroupBy] = useState<GroupBy>('model');
  const impact = useCallback((signal: AbortSignal) => server.impact(groupBy, signal), [server, groupBy]);
  const report = usePolled(impact, 3_000);
  const grid = usePolled(server.grid, 60_000);
  return (
    <>
      <LiveSection server={server} report={report} />
      <PlaygroundSection server={server} models={models} organisation={who.organisation} />
      <ImpactSection server={server} report={report} grid={grid} groupBy={groupBy} onGroupBy={setGroupBy} />
      <BudgetsSection server={server} who={who} />
      <ActingSection server={server} who={who} />
      <DeploymentsSection server={server} who={who} onChange={models.reload} />
      <ModelsSection models={models} />
      <DownloadsSection server={server} who={who} models={models.data} />
    </>
  );
}
