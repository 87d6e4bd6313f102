/** What is served: its state and why, memory, use and settings; its owner's administrators change that here. */
import { useMemo, useState } from 'react';
import { ProblemNote } from '../parts/problem-note.tsx';
import type { Server } from '../server/server.ts';
import type { WhoAmI } from '../server/shapes.ts';
import { usePolled } from '../use-polled.ts';
import { DeploymentRow } from './deployment-row.tsx';
import { servedNow } from './served-now.ts';
import { StopDialog } from './stop-dialog.tsx';
import { useAction } from './use-action.ts';

interface Props {
  server: Server;
  who: WhoAmI;
  /** The list of models tells of deployments, too. */
  onChange: () => void;
}

export function DeploymentsSection({ server, who, onChange }: Props) {
  const deployments = usePolled(server.deployments, 5_000);
  const counts = usePolled(server.statistics, 5_000);
  const [stopping, setStopping] = useState<string | null>(null);
  const action = useAction(() => {
    deployments.reload();
    onChange();
  });
  const listed = useMemo(
    () => deployments.data && servedNow(deployments.data, counts.data ?? []),
    [deployments.data, counts.data],
  );
  const mayChange = who.role !== 'member' && listed?.some(({ settings }) => settings !== null) === true;
  const toStop = listed?.find(({ id }) => id === stopping);
  return (
    <section className="card" aria-labelledby="deployments-title">
      <h2 id="deployments-title">Deployments</h2>
      {deployments.problem && <ProblemNote problem={deployments.problem} onRetry={deployments.reload} />}
      {action.problem && <ProblemNote problem={action.problem} />}
      <p role="status" className="quiet">
        {action.busy ?? action.done}
      </p>
      {!listed && !deployments.problem && <p className="quiet">Loading the deployments…</p>}
      {listed?.length === 0 && (
        <p className="quiet">
          Nothing is served yet. Serve a version with <code>commonwatt deploy your-org/name:1</code>.
        </p>
      )}
      {listed && listed.length > 0 && (
        <section className="scroll" aria-label="List of deployments">
          <table className="stacked">
            <thead>
              <tr>
                <th scope="col">Version</th>
                <th scope="col">State</th>
                <th scope="col">Memory</th>
                <th scope="col">Answered since the start</th>
                <th scope="col">How it is served</th>
                {mayChange && <th scope="col">Change it</th>}
              </tr>
            </thead>
            <tbody>
              {listed.map((deployment) => (
                <DeploymentRow
                  key={deployment.id}
                  deployment={deployment}
                  server={server}
                  action={mayChange ? action : null}
                  onStop={() => setStopping(deployment.id)}
                />
              ))}
            </tbody>
          </table>
        </section>
      )}
      {toStop && (
        <StopDialog
          name={`${toStop.model}:${toStop.version}`}
          onClose={(confirmed) => {
            setStopping(null);
            if (!confirmed) return;
            const name = `${toStop.model}:${toStop.version}`;
            action.start({ busy: `Stopping ${name}…`, done: `${name} is no longer served.` }, () =>
              server.stopServing(toStop.id),
            );
          }}
        />
      )}
    </section>
  );
}
