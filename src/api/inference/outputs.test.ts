import { describe, expect, it } from 'vitest';
import { unmetered } from '../../energy/footprint.ts';
import { standardForms } from '../../energy/forms/forms.ts';
import type { ModelSignature, TensorSpec } from '../../models/models.ts';
import { packBytes, type Tensor, unpackBytes } from '../../runtimes/tensor.ts';
import { chooseOutputs, wantedOutputs } from './outputs.ts';
import { parseInferRequest } from './parse.ts';
import { renderAnswer } from './render.ts';

const specs: TensorSpec[] = [
  { name: 'scores', datatype: 'FP32', shape: [-1, 4] },
  { name: 'texts', datatype: 'BYTES', shape: [-1] },
];

function classes(tensor: Tensor, count: number, perRow = true): { shape: number[]; texts: string[] } {
  const [output] = chooseOutputs(
    [tensor],
    [{ name: tensor.name, classes: count, perRow, binary: undefined }],
  );
  return {
    shape: output?.shape ?? [],
    texts: unpackBytes(output?.data as Uint8Array).map((bytes) => Buffer.from(bytes).toString()),
  };
}

describe('classification', () => {
  const scores = { name: 'scores', datatype: 'FP32', shape: [1, 4] } as const;

  it('gives the highest values first (the example of extension_classification.md)', () => {
    const tensor = { ...scores, shape: [1, 4], data: Float32Array.of(1, 5, 10, 4) };
    expect(classes(tensor, 2)).toEqual({ shape: [1, 2], texts: ['10:2', '5:1'] });
    const other = { ...scores, shape: [4], data: Float32Array.of(1.1, 3.3, 0.5, 2.4) };
    expect(classes(other, 2, false)).toEqual({ shape: [2], texts: ['3.3:1', '2.4:3'] });
    expect(classes(other, 2)).toEqual({ shape: [4, 1], texts: ['1.1:0', '3.3:0', '0.5:0', '2.4:0'] });
  });

  it('ranks each row apart, never more classes than there are, NaN last, equal ones by index', () => {
    const data = Float32Array.of(0.25, Number.NaN, 0.25, -1, 1e-7, 3, 2, 1);
    expect(classes({ ...scores, shape: [2, 4], data }, 9)).toEqual({
      shape: [2, 4],
      texts: ['0.25:0', '0.25:2', '-1:3', 'NaN:1', '3:1', '2:2', '1:3', '1e-7:0'],
    });
  });

  it('ranks 64-bit integers by their whole value', () => {
    const data = BigInt64Array.of(2n ** 62n, 2n ** 62n + 1n);
    expect(classes({ name: 's', datatype: 'INT64', shape: [1, 2], data }, 1).texts).toEqual([
      `${2n ** 62n + 1n}:1`,
    ]);
  });

  it('is text in the answer, as JSON or as raw bytes, and refused for what has no order', () => {
    const signature: ModelSignature = {
      inputs: [{ name: 'in', datatype: 'FP32', shape: [1] }],
      outputs: specs,
    };
    const ask = (name: string, parameters: object) =>
      parseInferRequest(
        Buffer.from(
          JSON.stringify({
            inputs: [{ name: 'in', datatype: 'FP32', shape: [1], data: [1] }],
            outputs: [{ name, parameters }],
          }),
        ),
        signature,
      );
    const answerTo = ({ outputs, binaryOutputs }: ReturnType<typeof ask>) =>
      renderAnswer(
        { modelName: 'm', version: 1, forms: standardForms, id: undefined, wanted: outputs, binaryOutputs },
        {
          outputs: [{ ...scores, shape: [1, 4], data: Float32Array.of(1, 5, 10, 4) }],
          footprint: unmetered,
          source: 'computed',
          queueMs: 0,
          batchMs: 0,
          computeMs: 0,
          batchRows: 1,
          batchRequests: 1,
          share: 1,
        },
      ).body;
    expect(JSON.parse(String(answerTo(ask('scores', { classification: 1 })))).outputs).toEqual([
      { name: 'scores', datatype: 'BYTES', shape: [1, 1], data: ['10:2'] },
    ]);
    const raw = answerTo(ask('scores', { classification: 1, binary_data: true })) as Buffer;
    expect(raw.subarray(-8)).toEqual(Buffer.from(packBytes([Buffer.from('10:2')])));
    expect(() => ask('texts', { classification: 1 })).toThrow('cannot rank BYTES');
    expect(() => ask('scores', { classification: -1 })).toThrow('not a whole number');
  });
});

describe('wanted outputs', () => {
  it('are given in the order asked, and not twice', () => {
    const wanted = wantedOutputs([{ name: 'texts' }, { name: 'scores' }], specs);
    expect(wanted?.map(({ name }) => name)).toEqual(['texts', 'scores']);
    expect(() => wantedOutputs([{ name: 'texts' }, { name: 'texts' }], specs)).toThrow('asked for twice');
  });
});
