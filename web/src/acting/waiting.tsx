import { moment, quantity } from '../format.ts';
import { ProblemNote } from '../parts/problem-note.tsx';
import type { Server } from '../server/server.ts';
import { usePolled } from '../use-polled.ts';
import { planText, savedText, scheduledJobs } from './plan-words.ts';

/** Jobs that may wait for cleaner hours: when they run and why, and what waiting saved once they have ended. */
export function Waiting({ server }: { server: Server }) {
  const jobs = usePolled(server.jobs, 10_000);
  const listed = jobs.data && scheduledJobs(jobs.data);
  return (
    <>
      <h3>Jobs that wait for cleaner hours</h3>
      {jobs.problem && <ProblemNote problem={jobs.problem} onRetry={jobs.reload} />}
      {listed?.length === 0 && (
        <p className="quiet">
          No job may wait. Give one the time: <code>--max-delay 8h</code> or <code>--deadline</code> with{' '}
          <code>commonwatt train</code>, <code>batch</code> or <code>evaluate</code>.
        </p>
      )}
      {listed && listed.length > 0 && (
        <section className="scroll" aria-label="Jobs that wait for cleaner hours">
          <table className="stacked">
            <thead>
              <tr>
                <th scope="col">Job</th>
                <th scope="col">State</th>
                <th scope="col">Plan</th>
                <th scope="col">Saves</th>
                <th scope="col">To be done by</th>
              </tr>
            </thead>
            <tbody>
              {listed.map(({ id, kind, state, createdBy, schedule }) => {
                const saved = savedText(schedule);
                return (
                  <tr key={id}>
                    <th scope="row">
                      {kind}
                      <span className="quiet line">{`${id.slice(0, 8)}, ${createdBy}`}</span>
                    </th>
                    <td data-label="State">
                      <span className={`badge ${state}`}>{state}</span>
                    </td>
                    <td data-label="Plan">
                      {planText(schedule)}
                      {schedule.plan && <Intensities {...schedule.plan} />}
                    </td>
                    <td data-label="Saves" className={saved.worse ? 'worse' : ''}>
                      {saved.text}
                    </td>
                    <td data-label="To be done by">{moment(schedule.deadline)}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </section>
      )}
    </>
  );
}

function Intensities(plan: { meanGPerKwh: number | null; atOnceGPerKwh: number | null }) {
  if (plan.meanGPerKwh === null || plan.atOnceGPerKwh === null) return null;
  return (
    <span className="quiet line">
      {`${quantity(plan.meanGPerKwh, 'g/kWh')} then, ${quantity(plan.atOnceGPerKwh, 'g/kWh')} at once (forecast)`}
    </span>
  );
}
