/** Acting on it: jobs in cleaner hours and, for the operator, fewer and fuller runners. */
import type { Server } from '../server/server.ts';
import type { WhoAmI } from '../server/shapes.ts';
import { Consolidation } from './consolidation.tsx';
import { Waiting } from './waiting.tsx';

export function ActingSection({ server, who }: { server: Server; who: WhoAmI }) {
  return (
    <section className="card" aria-labelledby="acting-title">
      <h2 id="acting-title">Acting on it</h2>
      <Waiting server={server} />
      {who.role === 'operator' && <Consolidation server={server} />}
    </section>
  );
}
