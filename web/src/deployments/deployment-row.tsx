import { percent, quantity, whole } from '../format.ts';
import { stateText } from '../parts/state-text.ts';
import type { Server } from '../server/server.ts';
import type { VersionCounts } from '../server/shapes.ts';
import { lastUse, reusedShare, type ServedNow } from './served-now.ts';
import { settingsWords } from './settings-words.ts';
import type { Action } from './use-action.ts';

interface Props {
  deployment: ServedNow;
  server: Server;
  /** Null: the caller may only look. */
  action: Action | null;
  onStop: () => void;
}

export function DeploymentRow({ deployment, server, action, onStop }: Props) {
  const { model, version, state, reason, memoryBytes, counts, settings } = deployment;
  return (
    <tr>
      <th scope="row">{`${model}:${version}`}</th>
      <td data-label="State">
        <span className={`badge ${state}`}>{stateText[state]}</span>
        {settings?.pinned && <span className="badge">pinned</span>}
        {reason && <p className="reason">{reason}</p>}
      </td>
      <td data-label="Memory">{memoryBytes > 0 ? quantity(memoryBytes, 'B') : 'none'}</td>
      <td data-label="Answered">{counts ? <Answered counts={counts} /> : '–'}</td>
      <td data-label="Served">
        {settings ? (
          <details>
            <summary>Settings</summary>
            <dl className="settings">
              {settingsWords(settings).map(([name, words]) => (
                <div key={name}>
                  <dt>{name}</dt>
                  <dd>{words}</dd>
                </div>
              ))}
            </dl>
          </details>
        ) : (
          <span className="quiet">its owner’s</span>
        )}
      </td>
      {action && (
        <td>
          {settings && <Actions deployment={deployment} server={server} action={action} onStop={onStop} />}
        </td>
      )}
    </tr>
  );
}

function Answered({ counts }: { counts: VersionCounts }) {
  const { success } = counts.inference_stats;
  const share = reusedShare(counts);
  const used = lastUse(counts.last_inference, Date.now());
  return (
    <>
      {whole(success.count)}
      {share !== null && share > 0 && `, ${percent(share)} of them answers used again`}
      {used && <span className="quiet">{` · computed last ${used}`}</span>}
    </>
  );
}

function Actions({ deployment, server, action, onStop }: Props & { action: Action }) {
  const { id, model, version, state, settings } = deployment;
  const name = `${model}:${version}`;
  const pinned = settings?.pinned === true;
  const busy = action.busy !== null;
  const pin = () =>
    action.start(
      pinned
        ? { busy: `Unpinning ${name}…`, done: `${name} may leave memory when nobody uses it.` }
        : { busy: `Pinning ${name}…`, done: `${name} stays in memory.` },
      () => server.changeSettings(id, { pinned: !pinned }),
    );
  const load = () =>
    action.start({ busy: `Loading ${name}…`, done: `${name} is in memory.` }, () => server.serve(name));
  return (
    <div className="row changes">
      {state !== 'ready' && state !== 'loading' && (
        <ActionButton text={state === 'idle' ? 'Load' : 'Try again'} name={name} busy={busy} onClick={load} />
      )}
      <ActionButton text={pinned ? 'Unpin' : 'Pin'} name={name} busy={busy} onClick={pin} />
      <ActionButton text="Stop serving" name={name} busy={busy} onClick={onStop} />
    </div>
  );
}

/** `aria-disabled`, so that it keeps the focus while something is under way. */
function ActionButton(props: { text: string; name: string; busy: boolean; onClick: () => void }) {
  const { text, name, busy, onClick } = props;
  return (
    <button
      type="button"
      className="secondary small"
      aria-disabled={busy}
      onClick={() => {
        if (!busy) onClick();
      }}
    >
      {text}
      <span className="heard">{` ${name}`}</span>
    </button>
  );
}
