import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Health, HealthCheckResponse_ServingStatus as Status } from './proto/health_pb.ts';
import { freshHouse, resetHouse, startDoor, type TestDoor } from './testing/grpc-door.ts';

const house = freshHouse();
let server: TestDoor;
beforeAll(async () => {
  server = await startDoor(house);
});
afterAll(() => server.stop());
beforeEach(() => resetHouse(house));

const keyed = { headers: { authorization: 'Bearer good' } };
const health = (address = server.address) =>
  createClient(Health, createGrpcTransport({ baseUrl: `http://${address}` }));

async function refusal(promise: Promise<unknown>): Promise<ConnectError> {
  return promise.then(
    () => expect.fail('was not refused'),
    (error: unknown) => ConnectError.from(error),
  );
}

describe('health', () => {
  it('is checked without a key, for the server and for the service of inference', async () => {
    for (const service of ['', 'inference.GRPCInferenceService'])
      expect((await health().check({ service })).status).toBe(Status.SERVING);
    house.ready = false;
    expect((await health().check({})).status).toBe(Status.NOT_SERVING);
    expect((await refusal(health().check({ service: 'another' }))).code).toBe(Code.NotFound);
    expect(house.seen.authenticated).toBe(0);
  });

  it('is watched: each change is told, and the end', async () => {
    const other = await startDoor(house);
    const told: Status[] = [];
    const watching = (async () => {
      for await (const { status } of health(other.address).watch({})) {
        told.push(status);
        if (status === Status.SERVING) house.ready = false;
      }
    })();
    await expect.poll(() => told, { timeout: 5_000 }).toEqual([Status.SERVING, Status.NOT_SERVING]);
    await other.stop();
    await watching;
    expect(told).toEqual([Status.SERVING, Status.NOT_SERVING]);
  });
});

describe('a model', () => {
  it('tells how it is served', async () => {
    const { config } = await server.client().modelConfig({ name: 'acme/echo' }, keyed);
    expect(config).toMatchObject({
      name: 'acme/echo',
      maxBatchSize: 128,
      input: [{ name: 'in', dataType: 11, dims: [3n] }],
      output: [{ name: 'out', dataType: 11, dims: [3n] }],
      schedulingChoice: {
        case: 'dynamicBatching',
        value: { preferredBatchSize: [8, 32], maxQueueDelayMicroseconds: 2000n },
      },
      responseCache: { enable: true },
    });
  });

  it('tells what it did, in whole nanoseconds', async () => {
    Object.assign(house.statistics, {
      lastInferenceMs: 1_700_000_000_000,
      inferenceCount: 5,
      executionCount: 2,
      success: { count: 5, ns: 15842531116.9998 },
    });
    house.statistics.batches.set(4, {
      computeInput: { count: 1, ns: 10.4 },
      computeInfer: { count: 1, ns: 20 },
      computeOutput: { count: 1, ns: 30 },
    });
    for (const name of ['acme/echo', ''])
      expect((await server.client().modelStatistics({ name }, keyed)).modelStats).toMatchObject([
        {
          name: 'acme/echo',
          version: '1',
          lastInference: 1_700_000_000_000n,
          inferenceCount: 5n,
          executionCount: 2n,
          inferenceStats: { success: { count: 5n, ns: 15842531117n }, fail: { count: 0n } },
          batchStats: [{ batchSize: 4n, computeInput: { count: 1n, ns: 10n } }],
        },
      ]);
  });

  it('is taken out of service by the forms of both kinds of client', async () => {
    const triton = await server.client().repositoryModelUnload({ modelName: 'acme/echo' }, keyed);
    const kserve = await server.client().repositoryModelUnload({ repositoryName: 'acme/echo' }, keyed);
    for (const answer of [triton, kserve])
      expect(answer).toMatchObject({ modelName: 'acme/echo', isUnloaded: true });
    expect(house.seen.removed).toEqual(['d1', 'd1']);
  });

  it('is not put into service from another repository, or with another configuration', async () => {
    const foreign = { repositoryName: 'elsewhere', modelName: 'acme/echo' };
    expect((await refusal(server.client().repositoryModelLoad(foreign, keyed))).code).toBe(Code.NotFound);
    const config = { parameterChoice: { case: 'stringParam', value: '{}' } } as const;
    const changed = { modelName: 'acme/echo', parameters: { config } };
    const error = await refusal(server.client().repositoryModelLoad(changed, keyed));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toMatch(/"config" is not taken/);
    expect(house.seen.created).toBe(0);
  });
});

describe('shared memory', () => {
  it('is refused, and clearing up before or after is not', async () => {
    for (const kind of ['system', 'cuda'] as const) {
      const error = await refusal(server.client()[`${kind}SharedMemoryRegister`]({}, keyed));
      expect(error.code).toBe(Code.Unimplemented);
      expect(error.rawMessage).toMatch(/shared memory is not served here/);
      await server.client()[`${kind}SharedMemoryUnregister`]({}, keyed);
      await server.client()[`${kind}SharedMemoryStatus`]({}, keyed);
    }
  });
});
