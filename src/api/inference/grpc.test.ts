import { connect, constants, type IncomingHttpHeaders, type IncomingHttpStatusHeader } from 'node:http2';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { compressionGzip, createGrpcTransport } from '@connectrpc/connect-node';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { unmetered } from '../../energy/footprint.ts';
import { CommonwattError } from '../../errors.ts';
import type { Tensor } from '../../runtimes/tensor.ts';
import { framed } from './grpc-infer.ts';
import { GRPCInferenceService, ModelInferRequestSchema } from './proto/open_inference_grpc_pb.ts';
import { echo, echoOf, freshHouse, resetHouse, startDoor, type TestDoor } from './testing/grpc-door.ts';

type InferInit = MessageInitShape<typeof ModelInferRequestSchema>;

const house = freshHouse();
let server: TestDoor;
beforeAll(async () => {
  server = await startDoor(house);
});
afterAll(() => server.stop());
beforeEach(() => resetHouse(house));

const client = (timeoutMs?: number) => server.client(timeoutMs);
const keyed = { headers: { authorization: 'Bearer good' } };
const good = { name: 'in', datatype: 'FP32', shape: [1n, 3n], contents: { fp32Contents: [1, 2, 3] } };
const rawGood = { name: 'in', datatype: 'FP32', shape: [1n, 3n] };
const infer = (request: InferInit, timeoutMs?: number) =>
  client(timeoutMs).modelInfer({ modelName: 'acme--echo', ...request }, keyed);

async function refusal(promise: Promise<unknown>): Promise<ConnectError> {
  return promise.then(
    () => expect.fail('was not refused'),
    (error: unknown) => ConnectError.from(error),
  );
}

describe('without a key', () => {
  it('the server tells of itself, and of nothing else', async () => {
    expect((await client().serverLive({})).live).toBe(true);
    expect((await client().serverReady({})).ready).toBe(true);
    expect(await client().serverMetadata({})).toMatchObject({ name: 'commonwatt', version: '1.2.3' });
    expect(house.seen.authenticated).toBe(0);
    for (const call of [
      client().modelReady({ name: 'acme/echo' }),
      client().modelMetadata({ name: 'acme/echo' }),
      client().modelInfer({ modelName: 'acme/echo', inputs: [good] }),
      client().modelInfer(
        { modelName: 'acme/echo', inputs: [good] },
        { headers: { authorization: 'Bearer x' } },
      ),
    ]) {
      const error = await refusal(call);
      expect(error.code).toBe(Code.Unauthenticated);
      expect(error.rawMessage).toBe('this key is not valid (make one)');
      expect(error.metadata.get('x-commonwatt-request-id')).toMatch(/^\w+-\w+$/);
    }
  });

  it('a body larger than everything allowed is not even read', async () => {
    const raw = new Uint8Array(4 * 1024 * 1024);
    const error = await refusal(client().modelInfer({ modelName: 'acme/echo', rawInputContents: [raw] }));
    expect(error.code).toBe(Code.Unauthenticated);
    expect((await client().serverLive({})).live).toBe(true);
  });
});

describe('what is no proper call', () => {
  it.each([
    ['an authority that is none', { ':authority': 'a:99999' }, /authority/],
    [
      'a method that does not exist',
      { ':path': '/inference.GRPCInferenceService/TraceSetting' },
      /not spoken/,
    ],
    ['another protocol', { 'content-type': 'application/json' }, /gRPC is spoken here/],
    ['another method of HTTP', { ':method': 'PUT' }, /gRPC is spoken here/],
  ])('%s harms nobody', async (_what, headers, message) => {
    const session = connect(`http://${server.address}`);
    const stream = session.request({
      ':method': 'POST',
      ':path': '/inference.GRPCInferenceService/ServerLive',
      'content-type': 'application/grpc',
      authorization: 'Bearer good',
      ...headers,
    });
    const answered = new Promise<IncomingHttpHeaders & IncomingHttpStatusHeader>((resolve, reject) => {
      stream.on('response', resolve).on('error', reject);
    });
    stream.end();
    const answer = await answered;
    expect(decodeURIComponent(String(answer['grpc-message']))).toMatch(message);
    session.close();
    expect((await client().serverLive({})).live).toBe(true);
  });
});

describe('a model', () => {
  it('tells its inputs and outputs, under both forms of its name', async () => {
    for (const name of ['acme/echo', 'acme--echo']) {
      expect(await client().modelMetadata({ name }, keyed)).toMatchObject({
        name,
        versions: ['1'],
        platform: 'onnx_onnxruntime',
        inputs: [{ name: 'in', datatype: 'FP32', shape: [-1n, 3n] }],
        outputs: [{ name: 'out', datatype: 'FP32', shape: [-1n, 3n] }],
      });
      expect((await client().modelReady({ name }, keyed)).ready).toBe(true);
    }
  });
});

describe('an inference', () => {
  it('answers typed contents with typed contents, and says what it used', async () => {
    let header = new Headers();
    const answer = await client().modelInfer(
      { modelName: 'acme--echo', modelVersion: '1', id: '7', inputs: [good] },
      { ...keyed, onHeader: (received) => (header = received) },
    );
    expect(answer).toMatchObject({
      modelName: 'acme--echo',
      modelVersion: '1',
      id: '7',
      rawOutputContents: [],
    });
    expect(answer.outputs).toMatchObject([
      { name: 'out', datatype: 'FP32', shape: [1n, 3n], contents: { fp32Contents: [1, 2, 3] } },
    ]);
    const requestId = house.seen.contexts[0]?.requestId;
    expect(house.seen.contexts).toMatchObject([
      { kind: 'inference', keyId: 'k1', consumer: { organisation: 'globex' } },
    ]);
    // 36 J = 0.01 Wh
    expect(answer.parameters.commonwatt_energy_wh?.parameterChoice.value).toBe(0.01);
    expect(answer.parameters.commonwatt_carbon_gco2e?.parameterChoice.value).toBe(0.5);
    expect(answer.parameters.commonwatt_quality?.parameterChoice.value).toBe('estimated');
    expect(answer.parameters.commonwatt_request_id?.parameterChoice.value).toBe(requestId);
    expect(header.get('x-commonwatt-energy-wh')).toBe('0.01');
    expect(header.get('x-commonwatt-carbon-gco2e')).toBe('0.5');
    expect(header.get('x-commonwatt-request-id')).toBe(requestId);
    expect(house.seen).toMatchObject({ settled: 1, released: 0 });
  });

  it('leaves out a figure that nobody knows, with the reason', async () => {
    house.compute = async () => ({ outputs: [], footprint: unmetered });
    const { parameters } = await infer({ inputs: [good] });
    expect(Object.keys(parameters).sort()).toEqual([
      'commonwatt_energy_unknown',
      'commonwatt_quality',
      'commonwatt_request_id',
    ]);
    expect(parameters.commonwatt_energy_unknown?.parameterChoice.value).toBe('metering is off');
  });

  it('gives only the outputs that are wanted', async () => {
    house.signature = {
      inputs: ['in1', 'in2'].map((name) => ({ name, datatype: 'FP32', shape: [-1, 3] })),
      outputs: ['out1', 'out2'].map((name) => ({ name, datatype: 'FP32', shape: [-1, 3] })),
    };
    const answer = await infer({
      inputs: [
        { ...rawGood, name: 'in2' },
        { ...rawGood, name: 'in1' },
      ],
      rawInputContents: [bytesOf(Float32Array.of(4, 5, 6)), bytesOf(Float32Array.of(1, 2, 3))],
      outputs: [{ name: 'out2' }],
    });
    expect(answer.outputs.map(({ name }) => name)).toEqual(['out2']);
    expect(answer.rawOutputContents).toEqual([bytesOf(Float32Array.of(4, 5, 6))]);
  });

  const checked = [
    'BOOL',
    'UINT8',
    'UINT16',
    'UINT32',
    'UINT64',
    'INT8',
    'INT16',
    'INT32',
    'INT64',
    'FP32',
    'FP64',
  ] as const;
  /** Little-endian by DataView, apart from the typed arrays of the code under test. */
  const samples: Record<
    (typeof checked)[number],
    { contents: object; bytes: (view: DataView) => void; size: number }
  > = {
    BOOL: { contents: { boolContents: [true, false] }, bytes: (view) => view.setUint8(0, 1), size: 1 },
    UINT8: { contents: { uintContents: [255, 0] }, bytes: (view) => view.setUint8(0, 255), size: 1 },
    UINT16: {
      contents: { uintContents: [65535, 0] },
      bytes: (view) => view.setUint16(0, 65535, true),
      size: 2,
    },
    UINT32: {
      contents: { uintContents: [4294967295, 0] },
      bytes: (view) => view.setUint32(0, 4294967295, true),
      size: 4,
    },
    UINT64: {
      contents: { uint64Contents: [2n ** 64n - 1n, 0n] },
      bytes: (view) => view.setBigUint64(0, 2n ** 64n - 1n, true),
      size: 8,
    },
    INT16: {
      contents: { intContents: [-32768, 0] },
      bytes: (view) => view.setInt16(0, -32768, true),
      size: 2,
    },
    INT8: { contents: { intContents: [-128, 0] }, bytes: (view) => view.setInt8(0, -128), size: 1 },
    INT32: {
      contents: { intContents: [-2147483648, 0] },
      bytes: (view) => view.setInt32(0, -2147483648, true),
      size: 4,
    },
    INT64: {
      contents: { int64Contents: [-(2n ** 63n), 0n] },
      bytes: (view) => view.setBigInt64(0, -(2n ** 63n), true),
      size: 8,
    },
    FP32: { contents: { fp32Contents: [1.5, 0] }, bytes: (view) => view.setFloat32(0, 1.5, true), size: 4 },
    FP64: {
      contents: { fp64Contents: [1e300, 0] },
      bytes: (view) => view.setFloat64(0, 1e300, true),
      size: 8,
    },
  };
  it.each(checked)('carries %s typed and raw, the same values', async (datatype) => {
    const { contents, bytes, size } = samples[datatype];
    house.signature = echoOf(datatype, [-1]);
    const raw = new Uint8Array(2 * size);
    bytes(new DataView(raw.buffer));
    const received: Tensor[] = [];
    house.compute = (call) => {
      received.push(...call.inputs);
      return echo(call);
    };
    const input = { name: 'in', datatype, shape: [2n] };
    const typedAnswer = await infer({ inputs: [{ ...input, contents }] });
    const rawAnswer = await infer({ inputs: [input], rawInputContents: [raw] });
    expect(received[0]).toEqual(received[1]);
    expect(typedAnswer.outputs[0]?.contents).toMatchObject(contents);
    expect(typedAnswer.rawOutputContents).toEqual([]);
    expect(rawAnswer.rawOutputContents).toEqual([raw]);
    expect(rawAnswer.outputs[0]?.contents).toBeUndefined();
  });

  it('carries BYTES typed and raw, the same values', async () => {
    house.signature = echoOf('BYTES', [-1]);
    const elements = [Uint8Array.of(0xff, 0), new Uint8Array()];
    const raw = Uint8Array.of(2, 0, 0, 0, 0xff, 0, 0, 0, 0, 0);
    const input = { name: 'in', datatype: 'BYTES', shape: [2n] };
    const typedAnswer = await infer({ inputs: [{ ...input, contents: { bytesContents: elements } }] });
    const rawAnswer = await infer({ inputs: [input], rawInputContents: [raw] });
    expect(typedAnswer.outputs[0]?.contents?.bytesContents).toEqual(elements);
    expect(rawAnswer.rawOutputContents).toEqual([raw]);
  });

  it.each(['FP16', 'BF16'] as const)('carries %s raw, which has no typed form', async (datatype) => {
    house.signature = echoOf(datatype, [-1]);
    const raw = Uint8Array.of(0, 0x3c, 1, 2);
    const input = { name: 'in', datatype, shape: [2n] };
    expect((await infer({ inputs: [input], rawInputContents: [raw] })).rawOutputContents).toEqual([raw]);
    const typed = { ...input, contents: { uintContents: [0x3c00, 0x0201] } };
    expect((await refusal(infer({ inputs: [typed] }))).rawMessage).toContain(
      `cannot carry ${datatype}, which has no typed form; send it in raw_input_contents`,
    );
  });

  it('answers raw what cannot be answered typed', async () => {
    house.signature = {
      inputs: [{ name: 'in', datatype: 'FP32', shape: [-1, 3] }],
      outputs: [{ name: 'out', datatype: 'FP16', shape: [-1] }],
    };
    house.compute = async () => ({
      outputs: [{ name: 'out', datatype: 'FP16', shape: [1], data: Uint16Array.of(0x3c00) }],
      footprint: unmetered,
    });
    expect((await infer({ inputs: [good] })).rawOutputContents).toEqual([Uint8Array.of(0, 0x3c)]);
  });

  it('ranks an output that is wanted as a classification', async () => {
    const parameters = { classification: { parameterChoice: { case: 'int64Param', value: 2n } } } as const;
    const answer = await infer({ inputs: [good], outputs: [{ name: 'out', parameters }] });
    expect(answer.outputs).toMatchObject([{ name: 'out', datatype: 'BYTES', shape: [1n, 2n] }]);
    const texts = answer.outputs[0]?.contents?.bytesContents.map((bytes) => Buffer.from(bytes).toString());
    expect(texts).toEqual(['3:2', '2:1']);
  });

  it('hands on what the caller asks of its schedule: priority, time, and no reuse', async () => {
    const before = performance.now();
    await client(60_000).modelInfer(
      {
        modelName: 'acme--echo',
        inputs: [good],
        parameters: {
          priority: { parameterChoice: { case: 'uint64Param', value: 2n } },
          timeout: { parameterChoice: { case: 'int64Param', value: 5_000_000n } },
        },
      },
      { headers: { ...keyed.headers, 'cache-control': 'no-store' } },
    );
    const [asked] = house.seen.calls;
    expect(asked?.options).toMatchObject({ priority: 1, reuse: false, policyVersion: 0 });
    // The earlier of the two: 5 s of the parameter, 60 s of the call.
    expect(asked?.options.deadlineAtMs).toBeGreaterThan(before + 4_000);
    expect(asked?.options.deadlineAtMs).toBeLessThan(before + 30_000);
    await infer({ inputs: [good] }, 20_000);
    expect(house.seen.calls[1]?.options.deadlineAtMs).toBeGreaterThan(before + 10_000);
    expect(house.seen.calls[1]?.options.reuse).toBe(true);
  });

  it('goes the same way when the gate remembers and when it must ask', async () => {
    for (const [key, remembers] of [
      ['good', true],
      ['good', false],
      ['slow', true],
    ] as const) {
      house.remembers = remembers;
      const headers = { authorization: `Bearer ${key}` };
      const answer = await client().modelInfer({ modelName: 'acme/echo', inputs: [good] }, { headers });
      expect(answer.outputs).toHaveLength(1);
    }
    expect(house.seen).toMatchObject({ settled: 3, released: 0 });
  });

  it('is read when it comes compressed', async () => {
    const transport = createGrpcTransport({
      baseUrl: `http://${server.address}`,
      sendCompression: compressionGzip,
      compressMinBytes: 0,
    });
    const compressed = createClient(GRPCInferenceService, transport);
    const answer = await compressed.modelInfer({ modelName: 'acme--echo', inputs: [good] }, keyed);
    expect(answer.outputs[0]?.contents?.fp32Contents).toEqual([1, 2, 3]);
    // 1 MB of zeros is 1 kB of gzip: what counts is what comes out.
    const bomb = { inputs: [rawGood], rawInputContents: [new Uint8Array(1024 * 1024)] };
    const error = await refusal(compressed.modelInfer({ modelName: 'acme--echo', ...bomb }, keyed));
    expect(error.code).toBe(Code.ResourceExhausted);
  });

  it('keeps every finite float exactly, in both forms', async () => {
    const finite = fc.float({ noNaN: true, noDefaultInfinity: true });
    await fc.assert(
      fc.asyncProperty(fc.array(finite, { minLength: 3, maxLength: 3 }), async (row) => {
        const typedAnswer = await infer({ inputs: [{ ...good, contents: { fp32Contents: row } }] });
        const raw = bytesOf(Float32Array.from(row));
        const rawAnswer = await infer({ inputs: [rawGood], rawInputContents: [raw] });
        expect(typedAnswer.outputs[0]?.contents?.fp32Contents).toEqual(row);
        expect(rawAnswer.rawOutputContents).toEqual([raw]);
      }),
      { numRuns: 20 },
    );
  });
});

describe('an inference is refused', () => {
  const nan = bytesOf(Float32Array.of(1, Number.NaN, 3));
  const refused: [what: string, request: InferInit, message: string][] = [
    ['without inputs', {}, '"inputs" lacks "in"; the model wants "in" FP32 [-1, 3]'],
    ['with an unknown input', { inputs: [{ ...good, name: 'x' }] }, '"x" is not an input of the model'],
    ['with an input given twice', { inputs: [good, good] }, '"in" is given twice'],
    ['with another datatype', { inputs: [{ ...good, datatype: 'FP64' }] }, 'is "FP64"; input "in" is FP32'],
    ['with too few dimensions', { inputs: [{ ...good, shape: [3n] }] }, 'has 1 dimensions instead of 2'],
    ['with a wrong width', { inputs: [{ ...good, shape: [1n, 4n] }] }, 'is [1, 4]; input "in" has the shape'],
    ['with a negative dimension', { inputs: [{ ...good, shape: [-1n, 3n] }] }, 'the dimension "-1"'],
    ['with a huge shape', { inputs: [{ ...good, shape: [2n ** 62n, 3n] }] }, 'not a positive integer'],
    [
      'with too many rows',
      { inputs: [{ ...good, shape: [2n ** 40n, 3n] }] },
      'at most 4096 go in one request',
    ],
    ['without contents', { inputs: [rawGood] }, 'fp32_contents has 0 elements; shape [1, 3] needs 3'],
    [
      'with contents in the wrong field',
      { inputs: [{ ...rawGood, contents: { fp64Contents: [1, 2, 3] } }] },
      'inputs[0].contents.fp64_contents is given; the elements of FP32 go into fp32_contents',
    ],
    [
      'with too few raw bytes',
      { inputs: [rawGood], rawInputContents: [nan.subarray(0, 8)] },
      'raw_input_contents[0] has 8 bytes; FP32 of shape [1, 3] needs 12',
    ],
    [
      'with raw bytes for another number of inputs',
      { inputs: [rawGood], rawInputContents: [nan, nan] },
      'has 2 entries for 1 inputs',
    ],
    [
      'with raw bytes and contents',
      { inputs: [good], rawInputContents: [nan] },
      'inputs[0].contents is given although raw_input_contents is',
    ],
    [
      'for an unknown output',
      { inputs: [good], outputs: [{ name: 'z' }] },
      '"z" is not an output of the model',
    ],
    ['for a name that is none', { modelName: 'echo', inputs: [good] }, '"echo" is not a model name'],
  ];
  it.each(refused)('%s', async (_what, request, message) => {
    const error = await refusal(infer(request));
    expect(error.rawMessage).toContain(message);
    expect(error.code).toBe(Code.InvalidArgument);
    expect(house.seen.settled).toBe(0);
    expect(house.seen.released).toBe(request.modelName === undefined ? 1 : 0);
  });

  it('for raw truth values that are neither 0 nor 1', async () => {
    house.signature = echoOf('BOOL', [-1]);
    const request = {
      inputs: [{ name: 'in', datatype: 'BOOL', shape: [1n] }],
      rawInputContents: [Uint8Array.of(2)],
    };
    expect((await refusal(infer(request))).rawMessage).toContain('[0] 2 is not a value of BOOL');
  });

  it('for whole numbers beyond their datatype', async () => {
    house.signature = echoOf('INT8', [-1]);
    const request = {
      inputs: [{ name: 'in', datatype: 'INT8', shape: [1n], contents: { intContents: [128] } }],
    };
    expect((await refusal(infer(request))).rawMessage).toContain('128 is not a value of INT8');
  });

  it('for a model that is not there, or not for this caller, and for versions that do not exist', async () => {
    const absent = await refusal(infer({ modelName: 'acme/none', inputs: [good] }));
    expect(absent.code).toBe(Code.NotFound);
    expect(absent.rawMessage).toBe('model acme/none does not exist');
    expect((await refusal(infer({ modelVersion: '2', inputs: [good] }))).code).toBe(Code.NotFound);
    expect((await refusal(infer({ modelVersion: 'two', inputs: [good] }))).code).toBe(Code.NotFound);
  });

  it('when it is too large, and the server stays up', async () => {
    const request = { inputs: [rawGood], rawInputContents: [new Uint8Array(65 * 1024)] };
    expect((await refusal(infer(request))).code).toBe(Code.ResourceExhausted);
    expect((await infer({ inputs: [good] })).outputs).toHaveLength(1);
  });

  it.each([
    ['FORBIDDEN', Code.PermissionDenied],
    ['LIMIT_EXCEEDED', Code.ResourceExhausted],
    ['CANCELLED', Code.Canceled],
    ['OVERLOADED', Code.Unavailable],
    ['RUNNER_FAILED', Code.Unavailable],
    ['QUARANTINED', Code.Unavailable],
    ['POISONED', Code.InvalidArgument],
    ['DEADLINE_EXCEEDED', Code.DeadlineExceeded],
    ['INTERNAL', Code.Internal],
  ] as const)('with the status for %s', async (code, expected) => {
    house.admitting = () => {
      throw new CommonwattError(code, 'so it is', { hint: 'do this', retryAfterS: 1.2 });
    };
    const error = await refusal(infer({ inputs: [good] }));
    expect(error.code).toBe(expected);
    expect(error.rawMessage).toBe('so it is (do this)');
    expect(error.metadata.get('retry-after')).toBe('2');
    expect(error.metadata.get('grpc-retry-pushback-ms')).toBe('1200');
  });

  it('with an id to look for, when nobody expected the error, and nothing of its inside', async () => {
    house.compute = () => Promise.reject(new Error('secret path /srv'));
    const error = await refusal(infer({ inputs: [good] }));
    expect(error.code).toBe(Code.Internal);
    expect(error.rawMessage).toBe(
      `internal error; its log line has the request id ${house.seen.contexts[0]?.requestId}`,
    );
    expect(house.logged).toMatchObject([{ requestId: house.seen.contexts[0]?.requestId }]);
    expect(house.seen).toMatchObject({ settled: 0, released: 1 });
  });
});

describe('a caller that has left', () => {
  it('is not computed for', async () => {
    let reached = () => {};
    const waiting = new Promise<void>((resolve) => {
      reached = resolve;
    });
    const left = new Promise<boolean>((resolve) => {
      house.compute = async (call) => {
        reached();
        while (!call.cancelled) await new Promise((next) => setTimeout(next, 5));
        resolve(true);
        throw new CommonwattError('CANCELLED', 'the caller has left');
      };
    });
    const hangUp = new AbortController();
    const call = client().modelInfer(
      { modelName: 'acme--echo', inputs: [good] },
      { ...keyed, signal: hangUp.signal },
    );
    await waiting;
    hangUp.abort();
    expect((await refusal(call)).code).toBe(Code.Canceled);
    expect(await left).toBe(true);
    await expect.poll(() => house.seen.released).toBe(1);
  });

  it('before it was admitted gives its place back, and is cancelled when it gets to the serve room', async () => {
    const hangUp = new AbortController();
    let admitted = () => {};
    const admission = new Promise<void>((resolve) => {
      admitted = resolve;
    });
    house.admission = admission;
    house.compute = async (call) => {
      if (call.cancelled) throw new CommonwattError('CANCELLED', 'the caller has left');
      return echo(call);
    };
    const call = client().modelInfer(
      { modelName: 'acme--echo', inputs: [good] },
      { ...keyed, signal: hangUp.signal },
    );
    await expect.poll(() => house.seen.asked).toBe(1);
    hangUp.abort();
    expect((await refusal(call)).code).toBe(Code.Canceled);
    await new Promise((next) => setTimeout(next, 50));
    admitted();
    await expect.poll(() => house.seen.released).toBe(1);
    expect(house.seen.settled).toBe(0);
  });

  it('when its answer is being written has been computed for, and pays', async () => {
    const session = connect(`http://${server.address}`, { settings: { initialWindowSize: 0 } });
    const stream = session.request({
      ':method': 'POST',
      ':path': '/inference.GRPCInferenceService/ModelInfer',
      'content-type': 'application/grpc',
      authorization: 'Bearer good',
    });
    stream.on('error', () => {});
    const request = create(ModelInferRequestSchema, { modelName: 'acme--echo', inputs: [good] });
    stream.end(framed(ModelInferRequestSchema, request));
    // The headers are here; the message waits for a window that never opens.
    await new Promise((resolve) => stream.once('response', resolve));
    stream.close(constants.NGHTTP2_CANCEL);
    await new Promise((resolve) => stream.once('close', resolve));
    session.destroy();
    expect(house.seen).toMatchObject({ settled: 1, released: 0 });
    expect((await infer({ inputs: [good] })).outputs).toHaveLength(1);
  });

  it('because its deadline passed reads just that', async () => {
    house.compute = async (call) => {
      while (!call.cancelled) await new Promise((next) => setTimeout(next, 5));
      throw new CommonwattError('CANCELLED', 'the caller has left');
    };
    expect((await refusal(infer({ inputs: [good] }, 50))).code).toBe(Code.DeadlineExceeded);
    await expect.poll(() => house.seen.released).toBe(1);
  });
});

describe('stopping', () => {
  it('answers what is under way, and takes nothing new', async () => {
    const other = await startDoor(house);
    let reached = () => {};
    const waiting = new Promise<void>((resolve) => {
      reached = resolve;
    });
    house.compute = async (call) => {
      reached();
      await new Promise((next) => setTimeout(next, 100));
      return echo(call);
    };
    const call = other.client().modelInfer({ modelName: 'acme--echo', inputs: [good] }, keyed);
    await waiting;
    await other.stop();
    expect((await call).outputs).toHaveLength(1);
    expect(await refusal(other.client().serverLive({}))).toBeInstanceOf(ConnectError);
  });

  it('a taken port is an error that names it', async () => {
    const port = Number(server.address.split(':').at(-1));
    await expect(startDoor(house, { port })).rejects.toMatchObject({
      code: 'EADDRINUSE',
      port,
    });
  });
});

function bytesOf(data: Float32Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
