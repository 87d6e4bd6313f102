/**
 * Everybody gets their own rows: the real program under all protocols at once, with batching, reuse, cancellations,
 * deadlines, bad requests, dying runners, moving aliases and changing settings, grants and limits. Each request carries
 * values of its own, and whatever is answered is compared with what was reckoned without the server; afterwards the
 * ledger and the counters are compared with what the callers saw. The long form: `node test/canary/run.mjs`.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { type Counted, countedWhenIdle, everybodyAnswers, readBooks } from './books.ts';
import { Caller, protocols } from './caller.ts';
import { type Done, makeChaos } from './chaos.ts';
import { type House, openHouse, residentMib } from './house.ts';
import { Tally } from './tally.ts';

/** Of both runs together. */
const answers = Number(process.env.COMMONWATT_CANARY_ANSWERS ?? 30_000);
const isLong = process.env.COMMONWATT_CANARY_ANSWERS !== undefined;
/** On a machine that is busy with other things the short form ends with fewer answers. */
const minutes = process.env.COMMONWATT_CANARY_MINUTES;
const longestMs = isLong ? Number(minutes ?? 360) * 60_000 : 11_000;
const leastAnswers = isLong && minutes === undefined ? answers / 2 : 1000;
/** Of a machine that does not get so far there is nothing to be learned. */
const hopelessMs = 5 * longestMs;
const callersOfEach = 12;
const say = (text: string) => {
  if (isLong) process.stderr.write(`${text}\n`);
};

let house: House | undefined;
afterEach(() => {
  house?.remove();
  house = undefined;
});

describe.skipIf(process.platform !== 'linux')('each of many answers', () => {
  it.each([1, 2])(
    'is its caller’s own, with %s gateways',
    async (gateways) => {
      house = await openHouse({ gateways, limit: Math.ceil(answers / 200) });
      const tally = new Tally();
      const { done, resident, seconds } = await load(house, tally);
      const afterLoad = residentMib(house);
      const counted = await countedWhenIdle(house);
      await everybodyAnswers(house);
      expect(await house.stop()).toBe(0);
      const booked = await readBooks(house, tally);
      say(JSON.stringify(summary(gateways, tally, { done, counted, booked, resident, afterLoad, seconds })));

      expect(tally.violations).toEqual([]);
      expect(booked.problems).toEqual([]);
      expect(faults(house.output())).toEqual([]);
      expect(tally.answers.size).toBeGreaterThanOrEqual(leastAnswers);
      expect(done.kills).toBeGreaterThan(0);
      expect(counted.restarts).toBeGreaterThan(0);
      if (isLong) expect(counted.unloads).toBeGreaterThan(0);
      for (const protocol of protocols)
        expect(tally.outcomes.get(`${protocol} answered`)).toBeGreaterThan(10);
      // Whatever was computed is booked, heard or not, and nothing else.
      const checks = house.organisations.flatMap(({ usable }) =>
        usable.filter(({ limited }) => !limited),
      ).length;
      expect(booked.computedRows).toBe(counted.inferences + checks);
      expect(booked.unheard).toBeLessThanOrEqual(tally.abandoned + tally.late + checks);
      expect(booked.entries).toBe(tally.answers.size + booked.unheard);
      expect(booked.ofLimitedGrant).toBeLessThanOrEqual(house.limit.requests);
      for (const mib of [resident.at(-1) ?? 0, afterLoad]) expect(mib).toBeLessThan(700);
    },
    hopelessMs + 90_000,
  );
});

async function load(house: House, tally: Tally) {
  const chaos = new AbortController();
  const began = performance.now();
  const chaosDone = makeChaos(house, { tally, pace: isLong ? 4 : 1, signal: chaos.signal });
  const more = () => {
    const ms = performance.now() - began;
    if (tally.answers.size < leastAnswers) return ms < hopelessMs;
    return tally.answers.size < answers / 2 && ms < longestMs;
  };
  const resident: number[] = [];
  const watch = setInterval(
    () => {
      resident.push(Math.round(residentMib(house)));
      say(`${tally.answers.size} answers, ${resident.at(-1)} MiB`);
    },
    isLong ? 15_000 : 1000,
  );
  let number = 0;
  const callers = house.organisations.flatMap((organisation) =>
    protocols.flatMap((protocol) =>
      Array.from(
        { length: callersOfEach },
        () => new Caller({ house, organisation, number: number++, protocol, tally, more }),
      ),
    ),
  );
  await Promise.all(callers.map((caller) => caller.run()));
  const seconds = (performance.now() - began) / 1000;
  clearInterval(watch);
  chaos.abort();
  return { done: await chaosDone, resident, seconds };
}

/** Lines of the server's log that nobody but a programmer could have caused. */
function faults(output: string): string[] {
  return output
    .split('\n')
    .filter((line) =>
      /unhandled|uncaught|request failed|inference failed|INTERNAL|TypeError|RangeError/i.test(line),
    )
    .slice(0, 10);
}

function summary(
  gateways: number,
  tally: Tally,
  facts: { done: Done; counted: Counted; seconds: number } & Record<string, unknown>,
) {
  const { seconds } = facts;
  return {
    gateways,
    answers: tally.answers.size,
    rows: tally.rows,
    sent: tally.sent,
    perSecond: Math.round(tally.answers.size / seconds),
    outcomes: Object.fromEntries([...tally.outcomes].sort()),
    sources: Object.fromEntries(
      ['computed', 'cached', 'joined'].map((source) => [source, tally.bySource(source)]),
    ),
    violations: tally.violations,
    ...facts,
  };
}
