import { whole } from '../format.ts';
import type { Grant, Model } from '../server/shapes.ts';
import type { Polled } from '../use-polled.ts';
import { ProblemNote } from './problem-note.tsx';
import { stateText } from './state-text.ts';

export function ModelsSection({ models }: { models: Polled<Model[]> }) {
  return (
    <section className="card" aria-labelledby="models-title">
      <h2 id="models-title">Models</h2>
      {models.problem && <ProblemNote problem={models.problem} onRetry={models.reload} />}
      {!models.data && !models.problem && <p className="quiet">Loading the models…</p>}
      {models.data?.length === 0 && (
        <p className="quiet">
          No model yet. Import one with <code>commonwatt import model.h5 --name your-org/name</code>, or ask
          another organisation to share one.
        </p>
      )}
      {models.data && models.data.length > 0 && (
        <section className="scroll" aria-label="List of models">
          <table className="stacked">
            <thead>
              <tr>
                <th scope="col">Model</th>
                <th scope="col">Versions</th>
                <th scope="col">Aliases</th>
                <th scope="col">State</th>
                <th scope="col">Access</th>
              </tr>
            </thead>
            <tbody>
              {models.data.map((model) => (
                <ModelRow key={model.id} model={model} />
              ))}
            </tbody>
          </table>
        </section>
      )}
    </section>
  );
}

function ModelRow({ model }: { model: Model }) {
  const versions = model.versions.map(({ number, format }) => `${number} (${format})`);
  return (
    <tr>
      <th scope="row">{model.ref}</th>
      <td data-label="Versions">{versions.join(', ') || '–'}</td>
      <td data-label="Aliases">
        {model.aliases.length === 0 && '–'}
        {model.aliases.map(({ alias, version }) => (
          <span className="badge" key={alias}>{`${alias} → ${version}`}</span>
        ))}
      </td>
      <td data-label="State">
        {model.deployments.length === 0 && 'not deployed'}
        {model.deployments.map(({ id, version, state }) => (
          <span className={`badge ${state}`} key={id}>{`${version} ${stateText[state]}`}</span>
        ))}
      </td>
      <td data-label="Access">{model.owned ? 'own' : <GrantText grant={model.grant} />}</td>
    </tr>
  );
}

function GrantText({ grant }: { grant: Grant | null }) {
  if (!grant) return <>shared</>;
  const { limit, usedInPeriod, expiresAt, permissions } = grant;
  return (
    <>
      shared: {permissions.join(', ')}
      {limit ? (
        <span className="grant-limit">
          <meter
            min={0}
            max={limit.requests}
            value={usedInPeriod ?? 0}
            aria-label="Requests used of the grant"
          />
          {`${whole(usedInPeriod)} of ${whole(limit.requests)} requests this ${limit.period}`}
        </span>
      ) : (
        ', no limit'
      )}
      {expiresAt && <span className="quiet">{` until ${expiresAt.slice(0, 10)}`}</span>}
    </>
  );
}
