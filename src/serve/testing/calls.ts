/** Calls and models for tests of the serve room: a model that doubles its input, in time or not, dying or not. */
import type { AvoidedWork, ComputedBatch, Footprint, WorkContext } from '../../energy/energy.ts';
import { gramsCo2e, joules } from '../../energy/units.ts';
import type { TensorParts } from '../../runtimes/frames.ts';
import type { Tensor } from '../../runtimes/tensor.ts';
import { Batcher, type BatcherOptions, type BatchTarget } from '../batcher.ts';
import type { Computed } from '../runner/replica.ts';
import { type CallOptions, InferCall } from '../serve.ts';
import { type DeploymentSettings, defaultSettings } from '../settings.ts';

const owner = { organisationId: 'a', organisation: 'acme' };
const use = { modelId: 'm', model: 'acme/double', version: 1, owner };

export function context(requestId: string, tenant = 'a'): WorkContext {
  return {
    kind: 'inference',
    requestId,
    consumer: { organisationId: tenant, organisation: tenant },
    keyId: null,
    grantId: null,
    jobId: null,
  };
}

export function tensorOf(values: readonly number[], width = 1): Tensor[] {
  return [
    { name: 'x', datatype: 'FP32', shape: [values.length / width, width], data: Float32Array.from(values) },
  ];
}

export function callOf(
  values: readonly number[],
  requestId: string,
  { tenant = 'a', ...options }: CallOptions & { tenant?: string } = {},
): InferCall {
  return new InferCall(tensorOf(values), context(requestId, tenant), options);
}

function footprint(joulesUsed: number): Footprint {
  return {
    energyJ: joules(joulesUsed),
    dynamicJ: joules(joulesUsed),
    idleShareJ: joules(0),
    carbonGCo2e: gramsCo2e(0),
    embodiedGCo2e: gramsCo2e(0),
    waterL: null,
    quality: 'estimated',
    method: 'test',
    methodVersion: '1',
    settled: false,
    unknown: {},
  };
}

export const turn = () => new Promise((resolve) => setImmediate(resolve));
export const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export function valuesOf(inputs: readonly TensorParts[]): number[] {
  return (inputs[0]?.parts ?? []).flatMap((part) => Array.from(part, Number));
}

export function doubled(inputs: readonly TensorParts[]): Computed {
  const [input] = inputs;
  const data = Float32Array.from(valuesOf(inputs), (value) => value * 2);
  return {
    outputs: [{ name: 'y', datatype: 'FP32', shape: [...(input?.shape ?? [])], data }],
    computeNs: 1000,
    inputNs: 10,
    outputNs: 20,
    runnerPid: 1,
  };
}

interface Given extends Partial<Omit<BatcherOptions, 'accountant'>> {
  settings?: Partial<DeploymentSettings>;
  target?: Partial<BatchTarget>;
}

/** A batcher before such a model, and what it booked. */
export function doubler({ settings = {}, target = {}, ...options }: Given = {}) {
  const booked: ComputedBatch[] = [];
  const avoided: AvoidedWork[] = [];
  const run = async (inputs: readonly TensorParts[]) => {
    await turn();
    return doubled(inputs);
  };
  const batcher = new Batcher(
    {
      use,
      batchable: true,
      settings: { ...defaultSettings, ...settings },
      deterministic: true,
      run,
      runAlone: run,
      ...target,
    },
    {
      maxBatchSize: 8,
      maxQueue: 1000,
      ...options,
      accountant: {
        recordBatch(batch) {
          // The batch is the batcher's own: what it says later is not what it said.
          booked.push({
            ...batch,
            items: batch.items.map(({ context: of, rows, outcome }) => ({ context: of, rows, outcome })),
          });
          return batch.items.map(({ rows }) => footprint(rows));
        },
        recordAvoided(work) {
          avoided.push(work);
          return work.items.map(() => footprint(0));
        },
      },
    },
  );
  const bookedIds = () => booked.flatMap(({ items }) => items.map((item) => item.context.requestId));
  return { batcher, booked, avoided, bookedIds };
}
