import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { writeZip } from '../../zip.ts';
import { inspectArtifact } from './formats.ts';
import { inspectApart } from './import-process.ts';
import { writeKerasH5 } from './keras-h5-write.ts';
import { ModelProtoSchema, TensorProto_DataType } from './onnx_pb.ts';

const { FLOAT } = TensorProto_DataType;

/** y = x + w, and whatever else is to be in the file. */
function onnx(weights: object, extraInputs: string[] = []): Buffer {
  const info = (name: string) => ({
    name,
    type: {
      value: {
        case: 'tensorType' as const,
        value: { elemType: FLOAT, shape: { dim: [{ value: { case: 'dimValue' as const, value: 1n } }] } },
      },
    },
  });
  const model = create(ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [{ domain: '', version: 17n }],
    graph: {
      node: [{ opType: 'Add', input: ['x', 'x'], output: ['y'] }],
      initializer: [{ name: 'w', dataType: FLOAT, ...weights }],
      input: ['x', ...extraInputs].map(info),
      output: [info('y')],
    },
  });
  return Buffer.from(toBinary(ModelProtoSchema, model));
}

const raw = (megabytes: number) =>
  onnx({ dims: [BigInt(megabytes * 2 ** 18)], rawData: new Uint8Array(megabytes * 2 ** 20) });
const small = raw(0);

function dense(units: number): Promise<Uint8Array> {
  const kernel = new Float32Array(units * units).fill(0.5);
  const bias = new Float32Array(units);
  const layer = { name: 'one', type: 'dense' as const, units, activation: 'linear' as const, kernel, bias };
  return writeKerasH5({ name: 'wide', inputSize: units, layers: [layer] });
}

const outcome = (bytes: Buffer, how = inspectApart): Promise<unknown> =>
  how(bytes).catch(({ code, message, where, hint }) => ({ code, message, where, hint }));

it('finds what is found in place, in every format', async () => {
  const h5 = Buffer.from(await dense(8));
  for (const bytes of [small, h5, writeZip([['a/model.onnx', small]])]) {
    const { format, signature, onnx } = await inspectApart(bytes);
    const here = await inspectArtifact(bytes);
    expect({ format, signature }).toEqual({ format: here.format, signature: here.signature });
    expect(Buffer.compare(onnx, here.onnx)).toBe(0);
  }
});

it('gives back the artifact itself where that is ONNX, and a view of it where it is a piece', async () => {
  expect((await inspectApart(small)).onnx).toBe(small);
  const archive = writeZip([['model.onnx', small]]);
  expect((await inspectApart(archive)).onnx.buffer).toBe(archive.buffer);
});

it('refuses in the very words that are used in place', async () => {
  const cut = Buffer.from(await dense(8)).subarray(0, 3000);
  for (const bytes of [Buffer.from('text'), Buffer.alloc(0), cut, raw(1).subarray(0, 9000)]) {
    const refused = await outcome(bytes);
    expect(refused).toEqual(await outcome(bytes, inspectArtifact));
    expect(refused).toMatchObject({ code: expect.stringMatching(/UNSUPPORTED_FORMAT|CORRUPT_MODEL/) });
  }
});

it('lets others go on while 100 MB are converted', async () => {
  const bytes = Buffer.from(await dense(5120));
  expect(bytes.length).toBeGreaterThan(100e6);
  let longest = 0;
  let turns = 0;
  let last = performance.now();
  const turn = () => {
    turns++;
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  };
  const timer = setInterval(turn, 5);
  const began = last;
  const { onnx } = await inspectApart(bytes);
  turn();
  clearInterval(timer);
  expect(onnx.length).toBeGreaterThan(100e6);
  // In place it is one turn for half of the time. How long one may take depends on who else is on the machine.
  expect(turns).toBeGreaterThan(10);
  expect(longest).toBeLessThan(Math.max(250, (last - began) / 3));
});

it('outlives a file that fills the heap, and reads the next one', async () => {
  const heavy = onnx({ dims: [8_000_000n], floatData: new Array<number>(8_000_000).fill(1.5) });
  await expect(inspectApart(heavy, { heapMb: 48 })).rejects.toMatchObject({
    code: 'PAYLOAD_TOO_LARGE',
    message: expect.stringContaining('memory'),
    hint: expect.stringContaining('raw data'),
  });
  expect((await inspectApart(small)).format).toBe('onnx');
});

it.runIf(process.platform === 'linux')('ends what grows beyond its memory', async () => {
  await expect(inspectApart(raw(64), { residentBytes: 90 * 2 ** 20, heapMb: 901 })).rejects.toMatchObject({
    code: 'PAYLOAD_TOO_LARGE',
    message: expect.stringMatching(/\d+ MiB were not enough/),
  });
});

it('ends what takes too long', async () => {
  await expect(inspectApart(raw(64), { deadlineMs: 20, heapMb: 902 })).rejects.toMatchObject({
    code: 'CORRUPT_MODEL',
    message: expect.stringContaining('takes longer'),
  });
});

it('refuses a signature that nobody could read', async () => {
  const names = Array.from({ length: 20_000 }, (_, i) => `input_${i}`);
  await expect(inspectApart(onnx({ dims: [0n] }, names))).rejects.toMatchObject({
    code: 'PAYLOAD_TOO_LARGE',
    where: 'inputs',
  });
});

it('reads one after another, whoever fails, and refuses when very many wait', async () => {
  const ended: number[] = [];
  const asked = Array.from({ length: 34 }, (_, i) =>
    inspectApart(i % 2 === 0 ? small : Buffer.from('text'))
      .then(({ format }) => format)
      .catch(({ code }) => code)
      .finally(() => ended.push(i)),
  );
  const codes = await Promise.all(asked);
  expect(codes[33]).toBe('OVERLOADED');
  expect(codes.slice(0, 33)).toEqual(
    codes.slice(0, 33).map((_, i) => (i % 2 ? 'UNSUPPORTED_FORMAT' : 'onnx')),
  );
  expect(ended).toEqual([33, ...Array.from({ length: 33 }, (_, i) => i)]);
});

it.runIf(process.platform === 'linux')('tells a crash from an end that came from outside', async () => {
  for (const [signal, code] of [
    ['SIGSEGV', 'CORRUPT_MODEL'],
    ['SIGKILL', 'OVERLOADED'],
  ] as const) {
    const reading = outcome(raw(200));
    process.kill(await readerPid(), signal);
    expect(await reading).toMatchObject({ code });
  }
  expect((await inspectApart(small)).format).toBe('onnx');
});

async function readerPid(): Promise<number> {
  for (;;) {
    for (const name of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        const parent = readFileSync(`/proc/${name}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[1];
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8');
        if (Number(parent) === process.pid && command.includes('import-main')) return Number(name);
      } catch {
        // It has just ended.
      }
    }
    await sleep(1);
  }
}
