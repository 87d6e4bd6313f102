/** What the operator's doctor sees inside a running server. */
import type { ServerFacts } from '@commonwatt/client';
import type { Finding } from './doctor.ts';
import { showBytes } from './quantities.ts';

/** As many models of a runner are named. */
const namedAtMost = 5;

export function serverFindings(facts: ServerFacts): Finding[] {
  return [
    ...gatewayFindings(facts),
    ...runnerFindings(facts),
    memoryFinding(facts),
    deploymentFinding(facts),
    ledgerFinding(facts),
  ];
}

function gatewayFindings({ leaving, gateways: { count, pids } }: ServerFacts): Finding[] {
  const check = 'gateways';
  if (leaving) return [{ check, state: 'note', message: 'the server is stopping' }];
  if (count === 1) return [{ check, state: 'ok', message: '1, in the server itself' }];
  const message = `${pids.length} of ${count} (pids ${pids.join(', ')})`;
  return pids.length === count
    ? [{ check, state: 'ok', message }]
    : [{ check, state: 'problem', message, hint: 'the log says why; those that died are started again' }];
}

function runnerFindings({ runners }: ServerFacts): Finding[] {
  const check = 'runners';
  const { processes, restarts, threads, memoryLimitBytes } = runners;
  const size = `${threads} thread${threads === 1 ? '' : 's'} a computation, at most ${showBytes(memoryLimitBytes)} each`;
  const message = `${processes.length} running, ${size}, ${restarts} ended unasked`;
  const summary: Finding =
    restarts === 0 ? { check, state: 'ok', message } : { check, state: 'note', message };
  return [
    summary,
    ...processes.map(({ pid, kind, residentBytes, models }): Finding => {
      const names = models.slice(0, namedAtMost).map(({ model }) => model);
      if (models.length > namedAtMost) names.push(`${models.length - namedAtMost} more`);
      const role = kind === 'alone' ? ', retries single requests' : '';
      const holds = names.length > 0 ? names.join(', ') : 'nothing loaded';
      const message = `pid ${pid}${role}: ${showBytes(residentBytes)} resident; ${holds}`;
      return { check: 'runner', state: 'ok', message };
    }),
  ];
}

function memoryFinding({ models: { heldBytes, budgetBytes } }: ServerFacts): Finding {
  const message = `models hold ${showBytes(heldBytes)} of ${showBytes(budgetBytes)}`;
  return { check: 'model memory', state: 'ok', message };
}

function deploymentFinding({ models: { deployments } }: ServerFacts): Finding {
  const check = 'deployments';
  const counted = Object.entries(deployments).filter(([, count]) => count > 0);
  const message =
    counted.length > 0 ? counted.map(([state, count]) => `${count} ${state}`).join(', ') : 'none';
  return deployments.failed + deployments.quarantined > 0
    ? { check, state: 'note', message, hint: 'their owners see why: GET /api/v1/deployments' }
    : { check, state: 'ok', message };
}

function ledgerFinding({ ledger }: ServerFacts): Finding {
  const check = 'ledger';
  if (!ledger) return { check, state: 'note', message: 'nothing is metered (COMMONWATT_METER=off)' };
  const { residualRatio, alarms, lastAlarm } = ledger;
  if (lastAlarm) {
    const { interval, residualRatio: off } = lastAlarm;
    const message = `${alarms} interval${alarms === 1 ? ' does' : 's do'} not add up to the meter, last ${interval} (by ${off.toExponential(1)} of it)`;
    return { check, state: 'problem', message, hint: 'its figures are wrong: please report this' };
  }
  const message =
    residualRatio === null
      ? 'no interval has been settled yet'
      : `adds up to the meter, to ${residualRatio === 0 ? 'the last digit' : `${residualRatio.toExponential(1)} of it`}`;
  return { check, state: 'ok', message };
}
