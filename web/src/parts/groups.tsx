import { useMemo } from 'react';
import { quantity, whole } from '../format.ts';
import type { Server } from '../server/server.ts';
import type { ApiKey, Group, GroupBy, ImpactReport } from '../server/shapes.ts';
import { usePolled } from '../use-polled.ts';
import { Reason } from './operating.tsx';

const groupings = { model: 'Model', tenant: 'Organisation', key: 'API key' } as const;
type Grouping = keyof typeof groupings;

const shownAtMost = 50;

interface Props {
  server: Server;
  report: ImpactReport;
  groupBy: GroupBy;
  onGroupBy: (groupBy: GroupBy) => void;
}

/** Who used what: by model, organisation or key, with how much single requests differ, and is it to be trusted yet. */
export function Groups({ server, report, groupBy, onGroupBy }: Props) {
  const asked = report.groups
    .filter(({ requests }) => requests > 0)
    .sort((one, other) => (other.energyWh ?? 0) - (one.energyWh ?? 0));
  const most = asked.slice(0, shownAtMost);
  // The report of another grouping is shown until the one asked for is there.
  const shown = groupingOf(asked) ?? groupBy;
  return (
    <>
      <div className="section-head">
        <h3 id="groups-title">Requests by</h3>
        <fieldset className="choice" aria-labelledby="groups-title">
          {Object.entries(groupings).map(([value, text]) => (
            <label key={value}>
              <input
                type="radio"
                name="group-by"
                value={value}
                checked={groupBy === value}
                onChange={() => {
                  if (isGrouping(value)) onGroupBy(value);
                }}
              />
              {text}
            </label>
          ))}
        </fieldset>
      </div>
      {asked.length === 0 && <p className="quiet">No request in this time.</p>}
      {asked.length > 0 && (
        <section
          className="scroll"
          aria-label={`Requests by ${isGrouping(shown) ? groupings[shown] : shown}`}
        >
          <table className="figures stacked">
            <thead>
              <tr>
                <th scope="col">{isGrouping(shown) ? groupings[shown] : shown}</th>
                <th scope="col">Requests</th>
                <th scope="col">Energy</th>
                <th scope="col">CO₂e</th>
                <th scope="col">Median</th>
                <th scope="col">90 % below</th>
                <th scope="col">99 % below</th>
                <th scope="col">Figure</th>
              </tr>
            </thead>
            <tbody>
              {shown === 'key' ? (
                <KeyRows server={server} groups={most} report={report} />
              ) : (
                most.map((group) => <Row key={group.key} name={group.key} group={group} report={report} />)
              )}
            </tbody>
          </table>
        </section>
      )}
      {asked.length > most.length && (
        <p className="quiet">
          {`The ${most.length} that used most; ${whole(asked.length - most.length)} others are in the ledger.`}
        </p>
      )}
    </>
  );
}

/** Keys by their names; of other organisations only the organisation is told. */
function KeyRows({ server, groups, report }: { server: Server; groups: Group[]; report: ImpactReport }) {
  const keys = usePolled(server.keys, null);
  const names = useMemo(() => new Map(keys.data?.map((key) => [key.id, nameOf(key)])), [keys.data]);
  return groups.map((group) => (
    <Row key={group.key} name={names.get(group.key) ?? group.key} group={group} report={report} />
  ));
}

function Row({ name, group, report }: { name: string; group: Group; report: ImpactReport }) {
  const { requests, finished, energyWh, carbonGCo2e, whPerRequest, settled } = group;
  return (
    <tr>
      <th scope="row">{name}</th>
      <td data-label="Requests">
        {whole(requests)}
        {finished < requests && (
          <span className="quiet">{` ${whole(requests - finished)} came to nothing`}</span>
        )}
      </td>
      <td data-label="Energy">{quantity(energyWh, 'Wh')}</td>
      <td data-label="CO₂e">{quantity(carbonGCo2e, 'g')}</td>
      {whPerRequest === null ? (
        <td colSpan={3} data-label="Per request">
          <Reason unknown={{ whPerRequest: notCounted, ...report.unknown }} of="whPerRequest" />
        </td>
      ) : (
        <>
          <td data-label="Median">{quantity(whPerRequest.p50, 'Wh')}</td>
          <td data-label="90 % below">{quantity(whPerRequest.p90, 'Wh')}</td>
          <td data-label="99 % below">{quantity(whPerRequest.p99, 'Wh')}</td>
        </>
      )}
      <td data-label="Figure">
        <span className={`badge ${settled === false ? 'warn' : ''}`} title={settlingOf(settled)}>
          {settled === null ? 'not known' : settled ? 'settled' : 'not settled yet'}
        </span>
      </td>
    </tr>
  );
}

const notCounted = 'not all inferences of this group were counted by size';

function settlingOf(settled: boolean | null): string {
  if (settled === null) return 'The energy per request settles for each model, not for a mixture of them';
  return settled
    ? 'The energy per request of its model is known to 10 % or better'
    : 'Too few requests of its model so far to trust the energy per request';
}

function groupingOf([first]: Group[]): string | undefined {
  return first && Object.keys(first.by)[0];
}

function isGrouping(text: string): text is Grouping {
  return Object.hasOwn(groupings, text);
}

function nameOf({ name, prefix, member }: ApiKey): string {
  return `${name} (${prefix}…, ${member})`;
}
