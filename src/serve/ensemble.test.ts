import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Footprint } from '../energy/energy.ts';
import { unmetered } from '../energy/footprint.ts';
import { joules } from '../energy/units.ts';
import { CommonwattError } from '../errors.ts';
import type { Admission } from '../gate/gate.ts';
import type { ModelRef } from '../models/models.ts';
import { Ensemble } from './ensemble.ts';
import { readPlan, signatureOf } from './ensemble-plan.ts';
import { InferCall, type Inference, type ServedVersion, type Tensor } from './serve.ts';
import { defaultSettings } from './settings.ts';

const numbers = (values: number[]): Tensor => ({
  name: 'x',
  datatype: 'FP32',
  shape: [values.length],
  data: Float32Array.from(values),
});

/** Every model takes x and gives y = x + its number; `both` takes x and z and gives their sum. */
const spec = (name: string) => ({ name, datatype: 'FP32' as const, shape: [-1] });
const signature = (model: string) => ({
  inputs: model === 'both' ? [spec('x'), spec('z')] : [spec('x')],
  outputs: [spec('y')],
});

interface Kitchen {
  ensemble: Ensemble;
  calls: { model: string; call: InferCall; startedMs: number }[];
  places: { model: string; state: 'taken' | 'settled' | 'released' }[];
  versions: Map<string, string>;
  refuse: Map<string, CommonwattError>;
}

function kitchen(
  yaml: string,
  { ms = {}, grants = {} }: { ms?: Record<string, number>; grants?: Record<string, string> } = {},
): Kitchen {
  const plan = readPlan(Buffer.from(yaml));
  const signatures = new Map(plan.steps.map(({ name, ref }) => [name, signature(ref.name)]));
  const made: Omit<Kitchen, 'ensemble'> = { calls: [], places: [], versions: new Map(), refuse: new Map() };
  const began = performance.now();
  const serving = {
    served(modelId: string): ServedVersion {
      const changed = made.versions.get(modelId);
      const known =
        changed === 'narrow'
          ? { inputs: [{ ...spec('x'), shape: [-1, 2] }], outputs: [spec('y')] }
          : signature(modelId);
      if (changed === 'gone')
        throw new CommonwattError('VERSION_NOT_FOUND', 'version 1 of this model is not deployed');
      const versionId = `${modelId}-${changed}`;
      return {
        deploymentId: changed === 'next' ? `${modelId}-next` : modelId,
        modelId,
        versionId,
        version: 1,
        signature: known,
        settings: defaultSettings,
        deterministic: true,
      };
    },
    async infer({ modelId, deploymentId }: ServedVersion, call: InferCall): Promise<Inference> {
      if (made.versions.get(modelId) === 'next' && deploymentId === modelId)
        throw new CommonwattError('VERSION_NOT_FOUND', 'version 1 of this model is not deployed');
      made.calls.push({ model: modelId, call, startedMs: performance.now() - began });
      const refused = made.refuse.get(modelId);
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(resolve, ms[modelId] ?? 1);
        call.onCancel = () => {
          clearTimeout(timer);
          reject(new CommonwattError('CANCELLED', 'left'));
        };
      });
      if (refused) throw refused;
      const columns = call.inputs.map(({ data }) => Array.from(data, Number));
      const sums = columns[0]!.map(
        (_, row) =>
          columns.reduce((sum, column) => sum + column[row]!, 0) +
          (columns.length > 1 ? 0 : Number(modelId.slice(1))),
      );
      const footprint: Footprint = {
        ...unmetered,
        energyJ: joules(1),
        dynamicJ: joules(1),
        idleShareJ: joules(0),
      };
      return {
        outputs: [{ ...numbers(sums), name: 'y' }],
        footprint,
        source: 'computed',
        queueMs: 1,
        batchMs: 0.5,
        computeMs: 2,
        batchRows: 3,
        batchRequests: 2,
        share: 0.5,
      };
    },
  };
  const admit = ({ name }: ModelRef): Admission => {
    if (made.versions.get(name) === 'forbidden')
      throw new CommonwattError('MODEL_NOT_FOUND', `model globex/${name} does not exist`);
    const place: Kitchen['places'][number] = { model: name, state: 'taken' };
    made.places.push(place);
    const grant = grants[name] ? { id: grants[name] } : null;
    return {
      model: { id: name },
      grant,
      settle: () => {
        place.state = 'settled';
      },
      release: () => {
        place.state = 'released';
      },
    } as unknown as Admission;
  };
  const ensemble = new Ensemble({ plan, signature: signatureOf(plan, signatures), serving, admit });
  return { ...made, ensemble };
}

const context = {
  kind: 'inference' as const,
  requestId: 'r1',
  consumer: { organisationId: 'o2', organisation: 'globex' },
  keyId: 'k',
  grantId: 'g-whole',
  jobId: null,
};
const call = (values = [1, 2]) => new InferCall([numbers(values)], context, { priority: 2 });

const diamond = `ensemble: 1
steps:
  first: { model: a/m1, inputs: { x: x } }
  left: { model: a/m10, inputs: { x: first.y } }
  right: { model: a/m100, inputs: { x: first.y } }
  join: { model: a/both, inputs: { x: left.y, z: right.y } }
outputs: { sum: join.y, first: first.y }
`;

describe('an ensemble', () => {
  it('feeds each step from those before it, and gives what it promised by its own names', async () => {
    const { ensemble } = kitchen(diamond);
    const { outputs, footprint, queueMs, batchMs, computeMs, ...of } = await ensemble.infer(call());
    expect(outputs.map(({ name, data }) => [name, ...data])).toEqual([
      ['sum', 114, 116],
      ['first', 2, 3],
    ]);
    expect([footprint.energyJ, queueMs, batchMs, computeMs]).toEqual([4, 4, 2, 8]);
    expect(of).toMatchObject({ batchRows: 3, batchRequests: 2, share: null });
    expect(ensemble.statistics).toMatchObject({
      inferenceCount: 2,
      executionCount: 1,
      success: { count: 1 },
    });
  });

  it('runs branches side by side, as soon as their inputs are there', async () => {
    const { ensemble, calls } = kitchen(diamond, { ms: { m10: 150, m100: 150 } });
    const began = performance.now();
    await ensemble.infer(call());
    expect(performance.now() - began).toBeLessThan(290);
    const at = new Map(calls.map(({ model, startedMs }) => [model, startedMs]));
    expect(Math.abs(at.get('m10')! - at.get('m100')!)).toBeLessThan(50);
  });

  it('books every step to the caller, each under a name of its own, and the grant of the caller once', async () => {
    const { ensemble, calls, places } = kitchen(diamond, { grants: { m10: 'g-owner' } });
    await ensemble.infer(call());
    const contexts = Object.fromEntries(calls.map(({ model, call: { context: own } }) => [model, own]));
    expect(
      Object.fromEntries(
        Object.entries(contexts).map(([model, { requestId, grantId }]) => [model, [requestId, grantId]]),
      ),
    ).toEqual({
      m1: ['r1.1', 'g-whole'],
      m10: ['r1.2', 'g-owner'],
      m100: ['r1.3', null],
      both: ['r1.4', null],
    });
    expect(Object.values(contexts).every(({ consumer }) => consumer.organisation === 'globex')).toBe(true);
    expect(calls.every(({ call: { options } }) => options.priority === 2)).toBe(true);
    expect(places.map(({ state }) => state)).toEqual(Array(4).fill('settled'));
  });

  it('goes on with the version that follows one that is retired meanwhile', async () => {
    const { ensemble, versions } = kitchen(diamond, { ms: { m1: 60 } });
    const answer = ensemble.infer(call());
    await sleep(10);
    versions.set('m10', 'next');
    expect((await answer).outputs[0]?.data).toEqual(Float32Array.of(114, 116));
  });

  it('cancels every step that computes, starts no other, and gives the places back', async () => {
    const { ensemble, calls, places } = kitchen(diamond, { ms: { m10: 5000, m100: 5000 } });
    const wanted = call();
    const answer = ensemble.infer(wanted);
    await sleep(50);
    wanted.cancel();
    await expect(answer).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(calls.map(({ model }) => model)).toEqual(['m1', 'm10', 'm100']);
    expect(places.map(({ state }) => state)).toEqual(['settled', 'released', 'released', 'released']);
    expect(ensemble.pending).toBe(0);
    expect(ensemble.statistics.cancelled).toBe(1);
    await ensemble.drained();
  });

  it('names the step that failed, and cancels the others', async () => {
    const { ensemble, calls, refuse } = kitchen(diamond, { ms: { m100: 5000 } });
    refuse.set('m10', new CommonwattError('OVERLOADED', 'too many', { retryAfterS: 1 }));
    await expect(ensemble.infer(call())).rejects.toMatchObject({
      code: 'OVERLOADED',
      message: 'step left: too many',
      where: 'steps.left',
      retryAfterS: 1,
    });
    expect(calls.find(({ model }) => model === 'm100')?.call.cancelled).toBe(true);
    expect(calls.some(({ model }) => model === 'both')).toBe(false);
  });

  it('computes nothing when the owner may not use a step any more, and does not tell which model it is', async () => {
    const { ensemble, calls, places, versions } = kitchen(diamond);
    versions.set('both', 'forbidden');
    await expect(ensemble.infer(call())).rejects.toMatchObject({
      code: 'FORBIDDEN',
      message: 'step join: the owner of this ensemble may not use its model',
    });
    expect(calls).toEqual([]);
    expect(places.map(({ state }) => state)).toEqual(Array(3).fill('released'));
    versions.delete('both');
    await ensemble.infer(call());
  });

  it('computes nothing when a step is not deployed, or became another model', async () => {
    const { ensemble, calls, versions } = kitchen(diamond);
    versions.set('m10', 'gone');
    await expect(ensemble.infer(call())).rejects.toMatchObject({
      code: 'NOT_READY',
      message: expect.stringContaining('step left: version 1'),
    });
    versions.set('m10', 'narrow');
    await expect(ensemble.infer(call())).rejects.toMatchObject({
      code: 'NOT_READY',
      message: expect.stringMatching(/no longer the ones it was made of.*steps.left.inputs.x/),
    });
    expect(calls).toEqual([]);
    versions.set('m10', 'another of the same form');
    await ensemble.infer(call());
  });

  it('may be a step of another, but no deeper', async () => {
    const one = 'ensemble: 1\nsteps: { only: { model: a/m1, inputs: { x: x } } }\noutputs: { y: only.y }';
    const plan = readPlan(Buffer.from(one));
    const whole = signatureOf(plan, new Map([['only', signature('m1')]]));
    const around = (inner: Ensemble) => {
      const served = {
        deploymentId: 'd',
        modelId: 'm1',
        versionId: 'v',
        version: 1,
        signature: whole,
        settings: defaultSettings,
        deterministic: true,
      };
      const admission = {
        model: { id: 'm1' },
        grant: null,
        settle() {},
        release() {},
      } as unknown as Admission;
      const serving = {
        served: () => served,
        infer: (_served: ServedVersion, inCall: InferCall) => inner.infer(inCall),
      };
      return new Ensemble({ plan, signature: whole, serving, admit: () => admission });
    };
    const { ensemble, calls } = kitchen(one);
    const two = around(ensemble);
    expect(Array.from((await two.infer(call())).outputs[0]!.data, Number)).toEqual([2, 3]);
    expect(calls[0]?.call.context.requestId).toBe('r1.1.1');
    await expect(around(two).infer(call())).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringContaining('ensembles whose steps are ensembles'),
    });
  });
});
