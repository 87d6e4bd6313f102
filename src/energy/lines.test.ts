import { describe, expect, it } from 'vitest';
import { batchText, groupText, parseLines } from './lines.ts';

const party = { organisationId: 'o1', organisation: 'acme' };
const use = { modelId: 'm1', model: 'acme/digits', version: 1, owner: party };
const head = { head: 0, kind: 'inference', consumer: party, keyId: 'k1', grantId: 'g1', jobId: null, use };
const price = {
  cpuSPerRow: 1e-3,
  dynamicJPerRow: 2e-3,
  idleJPerRow: 3e-3,
  gatewayCpuS: 1e-4,
  gatewayJ: 2e-4,
};

/** One batch of runner 7 that computed for 12 ms. */
function segment(groups: string, runnerPid = 7): unknown[] {
  return [{ start: 5 }, head, JSON.parse(`${batchText(runnerPid, 12e6, price, 9)}${groups}]`)];
}
const ids = (outcome: 'aborted' | 'failed' | undefined, ...of: string[]) =>
  `${groupText(0, 1, outcome)},${of.map((id) => JSON.stringify(id)).join()}]`;

describe('a segment', () => {
  it('tells what became of each request, and who was computed together', () => {
    const { lines, items, broken } = parseLines(
      'i1',
      segment(ids(undefined, 'a', 'b') + ids('aborted', 'c')),
    );
    expect(lines.map((line) => [line.ids, line.outcome, line.shared, line.computeNs])).toEqual([
      [['a', 'b'], undefined, true, 4e6],
      [['c'], 'aborted', true, 4e6],
    ]);
    expect({ items, broken }).toEqual({ items: 3, broken: 0 });
    expect(parseLines('i1', segment(ids(undefined, 'alone'))).lines[0]?.shared).toBeUndefined();
  });

  it('is read as it was written before there were outcomes', () => {
    // As version 0.2 wrote it.
    const old = [{ start: 5 }, head, [9, 7, 12e6, 1e9, 2e9, 3e9, 1e8, 2e8, [0, 1, 'a', 'b'], [0, 2, 'c']]];
    const { lines, broken } = parseLines('i1', old);
    expect(broken).toBe(0);
    expect(lines.map((line) => [line.ids, line.rows, line.computeNs, line.outcome])).toEqual([
      [['a', 'b'], 1, 3e6, undefined],
      [['c'], 2, 6e6, undefined],
    ]);
  });

  it('counts what it cannot read, and takes no other outcome than those there are', () => {
    const odd = segment(`,[0,1,3,"a"]`);
    expect(parseLines('i1', odd)).toMatchObject({ lines: [], broken: 1 });
    expect(parseLines('i1', segment(`,[9,1,"a"]`))).toMatchObject({ lines: [], broken: 1 });
  });

  it('adds a computation that came to nothing to the line of its request, made by the same runner', () => {
    const first = segment(ids('failed', 'a~0', 'b~1'));
    const answers = segment(ids(undefined, 'a', 'c')).slice(2);
    const refused = segment(ids('failed', 'b')).slice(2);
    const { lines, items } = parseLines('i1', [...first, ...answers, ...refused]);
    expect(items).toBe(5);
    expect(lines.map((line) => [line.ids, line.outcome, line.computeNs])).toEqual([
      [['c'], undefined, 6e6],
      [['a'], undefined, 12e6],
      [['b'], 'failed', 18e6],
    ]);
    const told = lines.reduce((sum, line) => sum + line.ids.length * line.computeNs, 0);
    expect(told).toBe(3 * 12e6);
    // Another runner's time is not this one's; and what has no line here is one by itself.
    const elsewhere = segment(ids('failed', 'a~0'), 8);
    const apart = parseLines('i1', [...elsewhere, ...answers]).lines;
    expect(apart.map((line) => [line.ids, line.runnerPid])).toEqual([
      [['c'], 7],
      [['a'], 7],
      [['a~0'], 8],
    ]);
  });
});
