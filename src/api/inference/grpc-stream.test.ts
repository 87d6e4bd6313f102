import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { create, fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { unmetered } from '../../energy/footprint.ts';
import { CommonwattError } from '../../errors.ts';
import { framed } from './grpc-infer.ts';
import { FrameReader } from './grpc-receive.ts';
import {
  ModelInferRequestSchema,
  type ModelStreamInferResponse,
  ModelStreamInferResponseSchema,
} from './proto/open_inference_grpc_pb.ts';
import { echo, freshHouse, resetHouse, startDoor, type TestDoor } from './testing/grpc-door.ts';

type InferInit = MessageInitShape<typeof ModelInferRequestSchema>;

const house = freshHouse();
let server: TestDoor;
beforeAll(async () => {
  server = await startDoor(house);
});
afterAll(() => server.stop());
beforeEach(() => resetHouse(house));

const keyed = { headers: { authorization: 'Bearer good' } };
const row = (first: number, id = ''): InferInit => ({
  modelName: 'acme/echo',
  id,
  inputs: [{ name: 'in', datatype: 'FP32', shape: [1n, 3n], contents: { fp32Contents: [first, 2, 3] } }],
});

async function* each(requests: InferInit[]) {
  yield* requests.map((init) => create(ModelInferRequestSchema, init));
}

async function answers(requests: InferInit[], options: object = keyed): Promise<ModelStreamInferResponse[]> {
  const got: ModelStreamInferResponse[] = [];
  for await (const answer of server.client().modelStreamInfer(each(requests), options)) got.push(answer);
  return got;
}

const firstOf = ({ inferResponse }: ModelStreamInferResponse) =>
  inferResponse?.outputs[0]?.contents?.fp32Contents[0];

/** A compute that waits as long as the first number of its input says, ms. */
function waitAsAsked() {
  house.compute = async (call) => {
    await sleep(Number(call.inputs[0]?.data[0]));
    return echo(call);
  };
}

describe('a stream of requests', () => {
  it('is answered, each request with its own rows, its own id, and its own request id', async () => {
    const got = await answers(Array.from({ length: 200 }, (_, index) => row(index, `r${index}`)));
    expect(got).toHaveLength(200);
    for (const answer of got) {
      expect(answer.errorMessage).toBe('');
      expect(`r${firstOf(answer)}`).toBe(answer.inferResponse?.id);
      expect(answer.inferResponse?.parameters.triton_final_response?.parameterChoice.value).toBe(true);
    }
    expect(new Set(house.seen.contexts.map(({ requestId }) => requestId)).size).toBe(200);
    expect(house.seen).toMatchObject({ settled: 200, released: 0 });
  });

  it('is answered as answers are ready when requests have ids, and in order when they have none', async () => {
    waitAsAsked();
    expect((await answers([row(60, 'slow'), row(1, 'quick')])).map(firstOf)).toEqual([1, 60]);
    expect((await answers([row(60), row(1), row(20)])).map(firstOf)).toEqual([60, 1, 20]);
    expect((await answers([row(60), row(1, 'quick'), row(2)])).map(firstOf)).toEqual([1, 60, 2]);
  });

  it('goes on after a refusal, which names its request', async () => {
    const [good, bad, last] = [row(1, 'a'), { ...row(2, 'b'), modelName: 'acme/none' }, row(3, 'c')];
    const got = await answers([good, bad, last]);
    expect(got.map(({ inferResponse }) => inferResponse?.id).sort()).toEqual(['a', 'b', 'c']);
    const refused = got.find(({ inferResponse }) => inferResponse?.id === 'b');
    expect(refused?.errorMessage).toBe('model acme/none does not exist');
    expect(got.filter(({ errorMessage }) => errorMessage === '')).toHaveLength(2);
  });

  it('ends with the status of the first refusal when the caller wants that', async () => {
    const headers = { ...keyed.headers, triton_grpc_error: 'true' };
    await expect(
      answers([row(1), { ...row(2), modelName: 'acme/none' }, row(3)], { headers }),
    ).rejects.toMatchObject({ code: Code.NotFound, rawMessage: 'model acme/none does not exist' });
  });

  it('ends when its key is withdrawn', async () => {
    const requests = async function* () {
      yield* each([row(1)]);
      await expect.poll(() => house.seen.settled).toBe(1);
      house.withdrawn.add('good');
      yield* each([row(2), row(3)]);
      await sleep(2_000);
    };
    const got: unknown[] = [];
    const read = async () => {
      for await (const answer of server.client().modelStreamInfer(requests(), keyed)) got.push(answer);
    };
    await expect(read()).rejects.toMatchObject({ code: Code.Unauthenticated });
    expect(got).toHaveLength(1);
    expect(house.seen.contexts).toHaveLength(1);
  });

  it('ends at its deadline, and what is under way is given up', async () => {
    house.compute = (call) =>
      new Promise((_resolve, reject) => {
        call.onCancel = () => reject(new CommonwattError('CANCELLED', 'the caller has left'));
      });
    const read = async () => {
      for await (const _ of server.client(80).modelStreamInfer(each([row(1), row(2)]), keyed));
    };
    await expect(read()).rejects.toMatchObject({ code: Code.DeadlineExceeded });
    await expect.poll(() => house.seen.released).toBe(2);
  });

  it('is answered as far as it was heard when the server stops, then ended with a status', async () => {
    const other = await startDoor(house);
    house.compute = async (call) => {
      await sleep(100);
      return echo(call);
    };
    const requests = async function* () {
      yield* each([row(1, 'a'), row(2, 'b')]);
      await sleep(30_000, undefined, { ref: false });
    };
    const got: ModelStreamInferResponse[] = [];
    const reading = (async () => {
      for await (const answer of other.client(20_000).modelStreamInfer(requests(), keyed)) got.push(answer);
    })().catch((error: unknown) => ConnectError.from(error));
    await expect.poll(() => house.seen.calls.length).toBe(2);
    const began = performance.now();
    await other.stop();
    expect(await reading).toMatchObject({
      code: Code.Unavailable,
      rawMessage: 'the server is being stopped',
    });
    expect(got).toHaveLength(2);
    // Nobody waited for the stream's own end.
    expect(performance.now() - began).toBeLessThan(8_000);
  });

  it('is refused whole without a key', async () => {
    const error = await answers([row(1)], {}).catch((thrown: unknown) => ConnectError.from(thrown));
    expect(error).toMatchObject({ code: Code.Unauthenticated });
  });
});

describe('on the wire, a stream', () => {
  let session: ClientHttp2Session;
  beforeEach(() => {
    session = connect(`http://${server.address}`);
    return () => session.destroy();
  });
  const open = (headers = {}) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': '/inference.GRPCInferenceService/ModelStreamInfer',
      'content-type': 'application/grpc',
      authorization: 'Bearer good',
      ...headers,
    });
    stream.on('error', () => {});
    return stream;
  };
  const frameOf = (init: InferInit) => framed(ModelInferRequestSchema, create(ModelInferRequestSchema, init));

  it('may be cut anywhere', async () => {
    const stream = open();
    const reader = new FrameReader(1 << 20);
    stream.on('data', (chunk: Buffer) => reader.push(chunk));
    for (const byte of Buffer.concat([frameOf(row(1)), frameOf(row(2))])) stream.write(Buffer.of(byte));
    stream.end();
    await new Promise((resolve) => stream.on('close', resolve));
    const got = [reader.shift(), reader.shift()].map((frame) =>
      fromBinary(ModelStreamInferResponseSchema, frame.subarray(5)),
    );
    expect(got.map(firstOf)).toEqual([1, 2]);
    expect(reader.isEmpty).toBe(true);
  });

  it.each([
    ['ends inside a message', (frame: Buffer) => frame.subarray(0, 20), /ends inside a message/],
    [
      'begins a message with nonsense',
      (frame: Buffer) => Buffer.of(7, ...frame.subarray(1)),
      /begin no message/,
    ],
    [
      'says it is longer than allowed',
      () => Buffer.of(0, 0x7f, 0xff, 0xff, 0xff, 1),
      /larger than 65536 bytes/,
    ],
  ])('that %s ends with a status', async (_what, spoil, message) => {
    const stream = open();
    const trailers = new Promise<Record<string, unknown>>((resolve) => stream.on('trailers', resolve));
    stream.resume();
    stream.end(spoil(frameOf(row(1))));
    const heard = await trailers;
    expect(['3', '8']).toContain(heard['grpc-status']);
    expect(decodeURIComponent(String(heard['grpc-message']))).toMatch(message);
  });

  it('answers a message that is none, and goes on', async () => {
    const stream = open();
    const reader = new FrameReader(1 << 20);
    stream.on('data', (chunk: Buffer) => reader.push(chunk));
    stream.write(Buffer.of(0, 0, 0, 0, 3, 0xff, 0xff, 0xff));
    stream.end(frameOf(row(5)));
    await new Promise((resolve) => stream.on('close', resolve));
    const got = [reader.shift(), reader.shift()].map((frame) =>
      fromBinary(ModelStreamInferResponseSchema, frame.subarray(5)),
    );
    expect(got[0]?.errorMessage).toMatch(/no ModelInferRequest/);
    expect(got[1] && firstOf(got[1])).toBe(5);
  });

  it('has at most 64 requests under way, and reads on when they are answered', async () => {
    let underWay = 0;
    let most = 0;
    const waiting: (() => void)[] = [];
    house.compute = async (call) => {
      underWay += 1;
      most = Math.max(most, underWay);
      await new Promise<void>((resolve) => waiting.push(resolve));
      underWay -= 1;
      return echo(call);
    };
    const stream = open();
    let received = 0;
    const reader = new FrameReader(1 << 20);
    stream.on('data', (chunk: Buffer) => {
      reader.push(chunk);
      for (; reader.hasMessage; reader.shift()) received += 1;
    });
    for (let count = 0; count < 1_000; count++) stream.write(frameOf(row(count, `r${count}`)));
    stream.end();
    await expect.poll(() => underWay).toBe(64);
    await sleep(50);
    expect(underWay).toBe(64);
    const closed = new Promise((resolve) => stream.on('close', resolve));
    const pump = setInterval(() => waiting.splice(0).forEach((go) => void go()), 1);
    await closed;
    clearInterval(pump);
    expect(most).toBe(64);
    expect(received).toBe(1_000);
  });

  it('whose answers nobody reads is not read either', async () => {
    house.signature = {
      inputs: [{ name: 'in', datatype: 'FP32', shape: [-1, 3] }],
      outputs: [{ name: 'out', datatype: 'UINT8', shape: [-1] }],
    };
    house.compute = async () => ({
      outputs: [{ name: 'out', datatype: 'UINT8', shape: [32768], data: new Uint8Array(32768) }],
      footprint: unmetered,
    });
    const stream = open();
    stream.pause();
    for (let count = 0; count < 250; count++) stream.write(frameOf(row(count, `r${count}`)));
    stream.end();
    await expect.poll(() => house.seen.settled).toBeGreaterThan(0);
    await sleep(200);
    const before = house.seen.settled;
    // 64 under way and what the windows of HTTP/2 hold, and no more.
    expect(before).toBeLessThan(150);
    stream.resume();
    await new Promise((resolve) => stream.on('close', resolve));
    expect(house.seen.settled).toBe(250);
  });

  it('that is broken off gives up what is under way', async () => {
    house.compute = (call) =>
      new Promise((_resolve, reject) => {
        call.onCancel = () => reject(new CommonwattError('CANCELLED', 'the caller has left'));
      });
    const stream = open();
    for (let count = 0; count < 10; count++) stream.write(frameOf(row(count)));
    await expect.poll(() => house.seen.calls.length).toBe(10);
    stream.close(constants.NGHTTP2_CANCEL);
    await expect.poll(() => house.seen.released).toBe(10);
    expect(house.seen.calls.every(({ cancelled }) => cancelled)).toBe(true);
  });
});
