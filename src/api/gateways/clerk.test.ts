import { duplexPair } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import type { InferCall } from '../../serve/serve.ts';
import type { InferenceHouse } from '../inference/answer.ts';
import { serveDoor } from './clerk.ts';
import { kinds, Outbox, readFrames } from './frames.ts';
import { putInputs } from './messages.ts';

it('computes nothing for who has left before it was known who that is', async () => {
  let admit = () => {};
  let late = false;
  const known = { organisationId: 'o1', organisation: 'acme', role: 'member' };
  const seen: InferCall[] = [];
  const released: boolean[] = [];
  const signature = { inputs: [{ name: 'x', datatype: 'FP32', shape: [-1] }], outputs: [] };
  const house = {
    gate: {
      policyVersion: 1,
      authenticate: () => (late ? new Promise((resolve) => (admit = () => resolve(known))) : known),
      authorize: () => ({ model: { id: 'm' } }),
      admit: () => ({
        model: { id: 'm' },
        principal: known,
        grant: null,
        settle() {},
        release: () => released.push(true),
      }),
    },
    deployments: {
      served: () => ({ version: 1, versionId: 'v', signature, settings: { greener: [] } }),
      async infer(_served: unknown, call: InferCall) {
        seen.push(call);
        throw new Error('it is not wanted');
      },
    },
  } as unknown as Pick<InferenceHouse, 'gate' | 'deployments'>;
  const [near, far] = duplexPair();
  serveDoor(far, house, { error() {} }, (error) => {
    throw error;
  });
  const heard: number[] = [];
  readFrames(
    near,
    (kind) => heard.push(kind),
    () => {},
  );
  const door = new Outbox(near);
  door
    .begin(kinds.open)
    .u32(1)
    .text(JSON.stringify({ apiKey: 'k', ref: { organisation: 'acme', name: 'm' } }))
    .end();
  await expect.poll(() => heard).toEqual([kinds.opened]);
  late = true;
  door.begin(kinds.infer).u32(7).u32(1).text('r1').text('').u8(1).f64(Number.NaN).f64(Number.NaN);
  putInputs(door, [{ name: 'x', datatype: 'FP32', shape: [1], data: Float32Array.of(1) }]);
  door.end();
  await sleep(20);
  door.begin(kinds.cancel).u32(7).end();
  await sleep(20);
  admit();
  await expect.poll(() => heard).toEqual([kinds.opened, kinds.failed]);
  expect(seen.map(({ cancelled }) => cancelled)).toEqual([true]);
  expect(released).toEqual([true]);
});
