/** The books as files: ledger, manifest, statement of a month and impact cards of models. */
import { type ReactNode, useState } from 'react';
import { useAction } from '../deployments/use-action.ts';
import { ProblemNote } from '../parts/problem-note.tsx';
import type { Server } from '../server/server.ts';
import type { Model, WhoAmI } from '../server/shapes.ts';
import { usePolled } from '../use-polled.ts';
import { cardFile, type FileOf, ledgerFile, manifestFile, statementFile, windowOf } from './files.ts';
import { save } from './save.ts';

export function DownloadsSection(props: { server: Server; who: WhoAmI; models: Model[] | null }) {
  const { server, who, models } = props;
  const [days, setDays] = useState(1);
  const [month, setMonth] = useState(() => new Date().toISOString().slice(0, 7));
  const [model, setModel] = useState('');
  const [organisation, setOrganisation] = useState(who.organisation);
  const organisations = usePolled(server.organisations, null);
  const action = useAction(() => {});
  const get = (file: FileOf) =>
    action.start({ busy: `Fetching ${file.name}…`, done: `${file.name} is downloaded.` }, async () =>
      save(await server.file(file.path), file.name),
    );
  const window = () => windowOf(days, Date.now());
  const withVersions = models?.filter(({ versions }) => versions.length > 0) ?? [];
  const chosen = withVersions.find(({ flat }) => flat === model)?.flat ?? withVersions[0]?.flat;
  const button = (text: string, file: () => FileOf | null) => (
    <button
      type="button"
      className="secondary small"
      aria-disabled={action.busy !== null}
      onClick={() => {
        const wanted = file();
        if (wanted) get(wanted);
      }}
    >
      {text}
    </button>
  );
  return (
    <section className="card" aria-labelledby="downloads-title">
      <h2 id="downloads-title">Downloads</h2>
      {action.problem && <ProblemNote problem={action.problem} />}
      <p role="status" className="quiet">
        {action.busy ?? action.done}
      </p>
      <div className="downloads">
        <Row
          title="Ledger and manifest"
          about="Every line, settled; the manifest is computed again by if-run."
        >
          <select
            aria-label="Time of the ledger and the manifest"
            value={days}
            onChange={({ target }) => setDays(Number(target.value))}
          >
            <option value={1}>last 24 hours</option>
            <option value={7}>last 7 days</option>
            <option value={30}>last 30 days</option>
          </select>
          {button('Ledger, CSV', () => ledgerFile('csv', window()))}
          {button('Ledger, Parquet', () => ledgerFile('parquet', window()))}
          {button('Manifest, YAML', () => manifestFile(days === 1 ? 'hour' : 'day', window()))}
        </Row>
        <Row title="Statement" about="What a month of an organisation took, by model and day.">
          <select
            aria-label="Organisation of the statement"
            value={organisation}
            onChange={({ target }) => setOrganisation(target.value)}
          >
            {(organisations.data?.map(({ name }) => name) ?? [who.organisation]).map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
          <input
            type="month"
            aria-label="Month of the statement"
            required
            value={month}
            max={new Date().toISOString().slice(0, 7)}
            onChange={({ target }) => setMonth(target.value)}
          />
          {button('Statement, to print', () => (month ? statementFile(organisation, month, 'html') : null))}
          {button('Statement, JSON', () => (month ? statementFile(organisation, month, 'json') : null))}
        </Row>
        <Row title="Impact card" about="What training a model used, and what an inference uses.">
          {chosen === undefined ? (
            <span className="quiet">No model has a version yet.</span>
          ) : (
            <>
              <select
                aria-label="Model of the card"
                value={chosen}
                onChange={({ target }) => setModel(target.value)}
              >
                {withVersions.map(({ flat, ref }) => (
                  <option key={flat} value={flat}>
                    {ref}
                  </option>
                ))}
              </select>
              {button('Card, Markdown', () => cardFile(chosen, 'huggingface'))}
              {button('Card, JSON', () => cardFile(chosen, 'json'))}
              {button('Card, SPDX', () => cardFile(chosen, 'spdx'))}
            </>
          )}
        </Row>
      </div>
    </section>
  );
}

function Row({ title, about, children }: { title: string; about: string; children: ReactNode }) {
  return (
    <div>
      <h3>{title}</h3>
      <p className="quiet">{about}</p>
      <div className="row">{children}</div>
    </div>
  );
}
