/** What is no gRPC, no protobuf or no request, in every form that chance finds: refused with a reason, and nothing worse. */
import { connect } from 'node:http2';
import { gzipSync } from 'node:zlib';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CommonwattError } from '../../errors.ts';
import { bytesPerElement, datatypes } from '../../runtimes/tensor.ts';
import { decodeInferRequest } from './grpc-infer.ts';
import { FrameReader, unwrap } from './grpc-receive.ts';
import { readInferRequest, writeOutputs } from './grpc-tensors.ts';
import { weigh } from './grpc-weigh.ts';
import { ModelInferRequestSchema } from './proto/open_inference_grpc_pb.ts';
import { echoOf, freshHouse, startDoor, type TestDoor } from './testing/grpc-door.ts';

type InferInit = MessageInitShape<typeof ModelInferRequestSchema>;

/** fast-check's own count; together with the socket's these are some 40,000 cases. */
const numRuns = 10_000;
const bytesAtMost = 64 * 1024;

const scalar = fc.oneof(
  fc.boolean().map((value) => ({ parameterChoice: { case: 'boolParam' as const, value } })),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => ({
    parameterChoice: { case: 'int64Param' as const, value },
  })),
  fc.string().map((value) => ({ parameterChoice: { case: 'stringParam' as const, value } })),
  fc.double().map((value) => ({ parameterChoice: { case: 'doubleParam' as const, value } })),
);
const parameters = fc.dictionary(
  fc.oneof(
    fc.constantFrom(
      'priority',
      'timeout',
      'sequence_id',
      'shared_memory_region',
      'classification',
      '__proto__',
    ),
    fc.string(),
  ),
  scalar,
  { maxKeys: 3 },
);
const dimension = fc.oneof(
  fc.constantFrom(0n, 1n, 2n, 3n, -1n, 2n ** 31n, 2n ** 62n, -(2n ** 63n)),
  fc.bigInt({ min: 0n, max: 5n }),
);
const contents = fc.record(
  {
    boolContents: fc.array(fc.boolean(), { maxLength: 4 }),
    intContents: fc.array(fc.integer(), { maxLength: 4 }),
    int64Contents: fc.array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), { maxLength: 4 }),
    uintContents: fc.array(fc.nat(), { maxLength: 4 }),
    uint64Contents: fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), { maxLength: 4 }),
    fp32Contents: fc.array(fc.float(), { maxLength: 4 }),
    fp64Contents: fc.array(fc.double(), { maxLength: 4 }),
    bytesContents: fc.array(fc.uint8Array({ maxLength: 9 }), { maxLength: 4 }),
  },
  { requiredKeys: [] },
);
/** Requests that are nearly right, so that chance gets past the first check. */
const nearly = fc.record(
  {
    modelName: fc.oneof(fc.constant('acme/echo'), fc.string()),
    modelVersion: fc.constantFrom('', '1', '2', 'x'),
    id: fc.string(),
    parameters,
    inputs: fc.array(
      fc.record(
        {
          name: fc.oneof({ arbitrary: fc.constant('in'), weight: 9 }, { arbitrary: fc.string(), weight: 1 }),
          datatype: fc.oneof(fc.constantFrom(...datatypes), fc.string()),
          shape: fc.oneof(
            { arbitrary: fc.array(dimension, { maxLength: 3 }), weight: 1 },
            { arbitrary: fc.constantFrom([1n], [2n], [1n, 2n]), weight: 2 },
          ),
          parameters,
          contents,
        },
        { requiredKeys: ['name', 'datatype'] },
      ),
      { maxLength: 2 },
    ),
    outputs: fc.array(fc.record({ name: fc.constantFrom('out', 'x'), parameters }), { maxLength: 2 }),
    rawInputContents: fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 2 }),
  },
  { requiredKeys: ['modelName', 'inputs'] },
);
/** Requests that are right. */
const right = fc
  .tuple(fc.constantFrom(...datatypes), fc.integer({ min: 1, max: 3 }), fc.string())
  .map(([datatype, rows, id]) => ({
    modelName: 'acme/echo',
    id,
    inputs: [{ name: 'in', datatype, shape: [BigInt(rows)] }],
    rawInputContents: [new Uint8Array(rows * (bytesPerElement(datatype) ?? 4))],
  }));
const request = fc.oneof(
  { arbitrary: nearly, weight: 3 },
  { arbitrary: right, weight: 1 },
) as fc.Arbitrary<InferInit>;

/** A message, cut, lengthened, or with bytes changed; or bytes that never were one. */
const message: fc.Arbitrary<Uint8Array> = fc.oneof(
  request.map((init) => toBinary(ModelInferRequestSchema, create(ModelInferRequestSchema, init))),
  fc
    .tuple(
      request,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 5 }),
      fc.nat(),
      fc.uint8Array({ maxLength: 6 }),
    )
    .map(([init, changes, cut, more]) => {
      const bytes = toBinary(ModelInferRequestSchema, create(ModelInferRequestSchema, init));
      for (const [at, to] of changes) if (bytes.length > 0) bytes[at % bytes.length] = to;
      return Buffer.concat([cut % 3 === 0 ? bytes.subarray(0, cut % (bytes.length + 1)) : bytes, more]);
    }),
  fc.uint8Array({ maxLength: 200 }),
);

/** Nothing but a refusal that blames the caller may be thrown. */
function refusedOr<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof CommonwattError && (error.status < 500 || error.status === 501)) return undefined;
    throw error;
  }
}

function framed(bytes: Uint8Array, flag = 0, length = bytes.length): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(length >>> 0, 1);
  return Buffer.concat([prefix, bytes]);
}

describe('messages', () => {
  it('of any bytes become a request that fits the model, or are refused', () => {
    let fitting = 0;
    fc.assert(
      fc.property(message, fc.constantFrom(1, 2, 3), (bytes, rank) => {
        const asked = refusedOr(() => decodeInferRequest(bytes, bytesAtMost));
        if (!asked) return;
        // A model that wants what was named, so that chance gets past the first checks.
        const type = datatypes.find((name) => name === asked.inputs[0]?.datatype) ?? 'FP32';
        const signature = echoOf(type, Array<number>(asked.inputs[0]?.shape.length || rank).fill(-1));
        const read = refusedOr(() => readInferRequest(asked, signature));
        if (!read) return;
        fitting += 1;
        expect(read.inputs).toMatchObject([{ name: 'in', datatype: type }]);
        // What was let in can be written again.
        for (const raw of [true, false]) expect(writeOutputs(read.inputs, raw).outputs).toHaveLength(1);
      }),
      { numRuns },
    );
    // Else chance would never have got past the door.
    expect(fitting).toBeGreaterThan(500);
  });

  it('are weighed before they are decoded, and are found to be no less than they are', () => {
    fc.assert(
      fc.property(message, (bytes) => {
        let weight = Number.POSITIVE_INFINITY;
        try {
          weight = weigh(ModelInferRequestSchema, bytes, Number.MAX_SAFE_INTEGER);
        } catch (error) {
          // What is no message is found out here, too.
          expect(error).toBeInstanceOf(Error);
        }
        expect(weight).toBeGreaterThan(bytes.length);
      }),
      { numRuns },
    );
  });

  it.each([
    ['empty BYTES elements', [0x42, 0x00]],
    ['empty inputs', null],
  ])('of a million %s take no memory', (_what, element) => {
    const many = Buffer.alloc(16 * 1024 * 1024);
    if (element) {
      const inner = Buffer.alloc(16_000_000, Buffer.from(element));
      const contentsField = field(5, inner);
      many.fill(0);
      const whole = field(5, contentsField);
      const before = process.memoryUsage().heapUsed;
      expect(() => decodeInferRequest(whole, many.length)).toThrow(/too many small elements/);
      expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 * 1024 * 1024);
    } else {
      const whole = Buffer.alloc(16_000_000, Buffer.from([0x2a, 0x00]));
      expect(() => decodeInferRequest(whole, many.length)).toThrow(/too many small elements/);
    }
  });

  it('of large raw tensors weigh little more than they are', () => {
    const raw = new Uint8Array(8 * 1024 * 1024);
    const bytes = toBinary(
      ModelInferRequestSchema,
      create(ModelInferRequestSchema, { modelName: 'acme/echo', rawInputContents: [raw] }),
    );
    expect(weigh(ModelInferRequestSchema, bytes, Number.MAX_SAFE_INTEGER)).toBeLessThan(raw.length + 1024);
  });
});

describe('frames', () => {
  it('are found again however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 30 }),
        (messages, cuts) => {
          const whole = Buffer.concat(messages.map((bytes) => framed(bytes)));
          const reader = new FrameReader(64);
          for (let at = 0, turn = 0; at < whole.length; turn++) {
            const next = at + (cuts[turn % cuts.length] ?? 1);
            reader.push(whole.subarray(at, next));
            at = next;
          }
          const found: Buffer[] = [];
          while (reader.hasMessage) found.push(Buffer.from(reader.shift()));
          expect(found).toEqual(messages.map((bytes) => framed(bytes)));
          expect(reader.isEmpty).toBe(true);
          expect(reader.bytes).toBe(0);
        },
      ),
      { numRuns: 5_000 },
    );
  });

  it('of any bytes are frames, wait for more, or are refused; what is kept is bounded', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 80 }), { maxLength: 8 }), (chunks) => {
        const reader = new FrameReader(64);
        refusedOr(() => {
          for (const chunk of chunks) {
            reader.push(Buffer.from(chunk));
            while (reader.hasMessage) expect(reader.shift().length).toBeLessThanOrEqual(69);
            expect(reader.bytes).toBeLessThanOrEqual(2 * (69 + 80));
          }
        });
      }),
      { numRuns },
    );
  });

  it('that lie about their length or their compression are refused', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 60 }),
        fc.nat(3),
        fc.nat(0xffffffff),
        fc.constantFrom(undefined, 'identity', 'gzip', 'deflate', 'br'),
        async (bytes, flag, length, encoding) => {
          for (const frame of [framed(bytes, flag), framed(bytes, flag, length), Buffer.from(bytes)]) {
            const message = await Promise.resolve()
              .then(() => unwrap(frame, encoding, 1024))
              .catch((error: unknown) => {
                if (error instanceof CommonwattError) return undefined;
                throw error;
              });
            if (message && flag === 0) expect(frame.subarray(5)).toEqual(Buffer.from(message));
          }
        },
      ),
      { numRuns: 2_000 },
    );
    const bomb = framed(gzipSync(new Uint8Array(1024 * 1024)), 1);
    await expect(unwrap(bomb, 'gzip', 1024)).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
  });
});

describe('on a socket', () => {
  const house = freshHouse();
  let server: TestDoor;
  beforeAll(async () => {
    server = await startDoor(house, { maxBodyBytes: bytesAtMost });
  });
  afterAll(() => server.stop());

  it('3,000 broken calls get a status or are hung up on, and the next good one is answered', async () => {
    house.remembers = true;
    let session = connect(`http://${server.address}`);
    session.on('error', () => {});
    const statuses = new Map<string, number>();
    const frame = fc
      .tuple(message, fc.constantFrom(0, 0, 0, 1, 2), fc.constantFrom(0, 0, 0, 1, -1, 70_000, 2 ** 31))
      .map(([bytes, flag, off]) => framed(bytes, flag, Math.max(0, bytes.length + off)));
    const call = (body: Buffer, method: string, encoding: string | undefined) =>
      new Promise<void>((resolve) => {
        if (session.destroyed || session.closed) {
          session = connect(`http://${server.address}`);
          session.on('error', () => {});
        }
        const stream = session.request({
          ':method': 'POST',
          ':path': `/inference.GRPCInferenceService/${method}`,
          'content-type': 'application/grpc',
          authorization: 'Bearer good',
          ...(encoding === undefined ? {} : { 'grpc-encoding': encoding }),
        });
        const hear = (headers: Record<string, unknown>) => {
          const status = headers['grpc-status'];
          if (status !== undefined) statuses.set(String(status), (statuses.get(String(status)) ?? 0) + 1);
        };
        stream
          .on('response', hear)
          .on('trailers', hear)
          .on('error', () => {});
        stream.on('close', resolve);
        stream.resume();
        stream.end(body);
      });
    const calls = fc.sample(
      fc.tuple(frame, fc.constantFrom('ModelInfer', 'ModelStreamInfer'), fc.constantFrom(undefined, 'gzip')),
      3_000,
    );
    for (let at = 0; at < calls.length; at += 50)
      await Promise.all(
        calls.slice(at, at + 50).map(([body, method, encoding]) => call(body, method, encoding)),
      );
    session.close();
    const heard = [...statuses.values()].reduce((sum, count) => sum + count, 0);
    expect(heard).toBe(3_000);
    // OK (a stream, whose refusals are answers), INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED, UNIMPLEMENTED.
    expect([...statuses.keys()].filter((status) => !['0', '3', '5', '8', '12'].includes(status))).toEqual([]);
    expect(house.logged).toEqual([]);
    const good = { name: 'in', datatype: 'FP32', shape: [1n, 3n], contents: { fp32Contents: [1, 2, 3] } };
    const answer = await server
      .client()
      .modelInfer({ modelName: 'acme/echo', inputs: [good] }, { headers: { authorization: 'Bearer good' } });
    expect(answer.outputs).toHaveLength(1);
  });
});

/** A length-delimited field of protobuf. */
function field(number: number, content: Uint8Array): Buffer {
  const length: number[] = [];
  for (let rest = content.length; ; rest >>>= 7) {
    if (rest < 128) {
      length.push(rest);
      break;
    }
    length.push((rest & 127) | 128);
  }
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), content]);
}
