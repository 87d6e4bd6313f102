import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { inspectArtifact } from './formats.ts';
import {
  type AttributeProto,
  type GraphProtoSchema,
  ModelProtoSchema,
  TensorProto_DataType,
} from './onnx_pb.ts';
import { isDeterministic } from './onnx-deterministic.ts';

type Graph = MessageInitShape<typeof GraphProtoSchema>;

const model = (graph: Graph) => create(ModelProtoSchema, { irVersion: 9n, graph });
const node = (opType: string, input: string[] = [], domain = '') => ({
  opType,
  input,
  output: ['y'],
  domain,
});
const flag = (name: string, value: number) => ({
  name,
  dataType: TensorProto_DataType.BOOL,
  dims: [],
  rawData: Uint8Array.of(value),
});

it('tells models that draw random numbers', () => {
  for (const opType of ['RandomNormal', 'RandomUniformLike', 'Multinomial', 'Bernoulli'])
    expect(isDeterministic(model({ node: [node('Relu', ['x']), node(opType, ['x'])] }))).toBe(false);
  expect(isDeterministic(model({ node: [node('Sampling', ['x'], 'com.microsoft')] }))).toBe(false);
  expect(isDeterministic(model({ node: [node('MatMul', ['x', 'w']), node('Softmax', ['h'])] }))).toBe(true);
  // Somebody else's operator of that name is another one.
  expect(isDeterministic(model({ node: [node('Bernoulli', ['x'], 'ai.onnx.ml')] }))).toBe(true);
});

it('takes Dropout for deterministic unless it may be in training mode', () => {
  expect(isDeterministic(model({ node: [node('Dropout', ['x'])] }))).toBe(true);
  expect(isDeterministic(model({ node: [node('Dropout', ['x', 'ratio', ''])] }))).toBe(true);
  const dropout = node('Dropout', ['x', '', 'training']);
  expect(isDeterministic(model({ node: [dropout], initializer: [flag('training', 0)] }))).toBe(true);
  expect(isDeterministic(model({ node: [dropout], initializer: [flag('training', 1)] }))).toBe(false);
  const constant = {
    opType: 'Constant',
    output: ['training'],
    attribute: [{ name: 'value', t: flag('', 0) }],
  };
  expect(isDeterministic(model({ node: [constant, dropout] }))).toBe(true);
  // An input of the model: the caller decides.
  expect(isDeterministic(model({ node: [dropout] }))).toBe(false);
});

it('looks into branches, loops and functions', () => {
  const g: AttributeProto['g'] = model({ node: [node('RandomUniform')] }).graph;
  const branch = { ...node('If', ['c']), attribute: [{ name: 'then_branch', ...(g ? { g } : {}) }] };
  expect(isDeterministic(model({ node: [branch] }))).toBe(false);
  const withFunction = create(ModelProtoSchema, {
    graph: { node: [node('Mine', ['x'], 'mine')] },
    functions: [{ name: 'Mine', domain: 'mine', node: [node('RandomNormal')] }],
  });
  expect(isDeterministic(withFunction)).toBe(false);
});

it('is known of what is imported', async () => {
  const port = (name: string) => ({
    name,
    type: {
      value: {
        case: 'tensorType' as const,
        value: { elemType: TensorProto_DataType.FLOAT, shape: { dim: [] } },
      },
    },
  });
  const signatureWith = async (opType: string) => {
    const graph = { name: 'g', node: [node(opType, ['x'])], input: [port('x')], output: [port('y')] };
    const bytes = create(ModelProtoSchema, {
      irVersion: 8n,
      opsetImport: [{ domain: '', version: 17n }],
      graph,
    });
    return (await inspectArtifact(Buffer.from(toBinary(ModelProtoSchema, bytes)))).signature;
  };
  expect((await signatureWith('RandomNormalLike')).deterministic).toBe(false);
  expect((await signatureWith('Relu')).deterministic).toBeUndefined();
});
