import type { ServerFacts } from '@commonwatt/client';
import { describe, expect, it } from 'vitest';
import { serverFindings } from './doctor-server.ts';

const facts = (ledger: ServerFacts['ledger']): ServerFacts => ({
  version: '1',
  node: '24.0.0',
  pid: 1,
  startedAt: '2026-01-01T00:00:00Z',
  leaving: false,
  gateways: { count: 1, pids: [] },
  runners: { processes: [], restarts: 0, threads: 1, memoryLimitBytes: 1e9 },
  models: {
    heldBytes: 0,
    budgetBytes: 1e9,
    deployments: { loading: 0, ready: 0, idle: 0, failed: 0, quarantined: 0 },
  },
  ledger,
});
const ofLedger = (ledger: ServerFacts['ledger']) =>
  serverFindings(facts(ledger)).find(({ check }) => check === 'ledger');

describe('the doctor', () => {
  it('says whether the ledger adds up, and that it is a problem when it ever did not', () => {
    expect(ofLedger({ residualRatio: 2.2e-16, alarms: 0, lastAlarm: null })).toEqual({
      check: 'ledger',
      state: 'ok',
      message: 'adds up to the meter, to 2.2e-16 of it',
    });
    expect(ofLedger({ residualRatio: null, alarms: 0, lastAlarm: null })?.message).toMatch(/no interval/);
    expect(
      ofLedger({ residualRatio: 0, alarms: 2, lastAlarm: { interval: 'i-7', residualRatio: 3e-8 } }),
    ).toMatchObject({
      state: 'problem',
      message: '2 intervals do not add up to the meter, last i-7 (by 3.0e-8 of it)',
    });
    expect(ofLedger(null)).toMatchObject({ state: 'note' });
  });
});
