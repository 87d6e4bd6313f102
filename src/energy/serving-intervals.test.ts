import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Db, openDatabase } from '../storage/db.ts';
import { readServingIntervals } from './serving-intervals.ts';
import { book, headOf, lineOf, modelOf, party } from './testing/booked.ts';

const [acme, globex] = [party('acme'), party('globex')];
const digits = modelOf(acme, 'digits');
let db: Db;
beforeEach(async () => {
  db = await openDatabase(':memory:');
});
afterEach(() => db.destroy());

const always = { fromMs: 0, toMs: 1e9 };

describe('intervals of serving', () => {
  it('hold what requests, the gateway and the runners took, and nothing else', async () => {
    // 6 CPU·s were busy: requests 2 (runner) + 1 (gateway), other work of the gateway 0.5, an import 1, a job 1.
    await book(db, {
      hostBusyS: 6,
      gatewayCpuS: 1.5,
      otherWork: { cpuS: 0.5, requests: 0, cpuSPerRequest: 0 },
      helpers: [{ note: 'imports', cpuS: 1 }],
      runners: [{ pid: 1, cpuS: 2 }],
      lines: [
        lineOf(headOf(acme, digits), ['a', 'b', 'c']),
        lineOf(headOf(globex, digits, 'explanation'), ['d']),
        lineOf(headOf(globex, digits), ['e'], { outcome: 'failed' }),
      ],
      jobs: [{ id: 'job~i0', head: headOf(acme, null, 'training'), cpuS: 1, memoryBytes: 0 }],
    });
    const [interval, ...more] = await readServingIntervals(db, always);
    expect(more).toEqual([]);
    expect(interval?.durationS).toBe(10);
    expect(interval?.servingS).toBeCloseTo(3, 9);
    expect([...(interval?.tenants ?? [])].map(([id, { requests }]) => [id, requests]).sort()).toEqual([
      ['id-acme', 3],
      ['id-globex', 2],
    ]);
    // Five computations alike: 3 of 5 are acme's, as is their part of the gateway.
    expect(interval?.tenants.get('id-acme')?.cpuS).toBeCloseTo(3 * (3 / 5), 9);
    expect(interval?.tenants.get('id-globex')?.cpuS).toBeCloseTo(3 * (2 / 5), 9);
  });

  it('without requests are there too: what stands ready costs', async () => {
    await book(db, {
      gatewayCpuS: 0.03,
      housekeepingS: 0.03,
      hostBusyS: 1,
      runners: [{ pid: 1, cpuS: 0.01 }],
    });
    const [interval] = await readServingIntervals(db, always);
    expect(interval?.servingS).toBeCloseTo(0.04, 9);
    expect(interval?.tenants.size).toBe(0);
  });

  it('are those that begin in the window, the last 240 of them, the latest first', async () => {
    for (let at = 0; at < 250; at++)
      await book(db, {
        id: `i${String(at).padStart(3, '0')}`,
        startMs: at * 1000,
        durationS: 1,
        hostBusyS: 1,
        lines: [
          lineOf(
            headOf(acme, digits),
            Array.from({ length: at + 1 }, (_, each) => `${at}-${each}`),
          ),
        ],
        runners: [{ pid: 1, cpuS: 1 }],
      });
    const requestsIn = async (fromMs: number, toMs: number) =>
      (await readServingIntervals(db, { fromMs, toMs })).map(
        ({ tenants }) => tenants.get('id-acme')?.requests,
      );
    expect(await requestsIn(3000, 6000)).toEqual([6, 5, 4]);
    expect(await requestsIn(3001, 6001)).toEqual([7, 6, 5]);
    const all = await requestsIn(0, 1e9);
    expect([all.length, all[0], all.at(-1)]).toEqual([240, 250, 11]);
  });
});
