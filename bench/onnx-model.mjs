// Makes ONNX models of random weights, of any size: dense layers with relu between them.
import { randomFillSync } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import {
  ModelProtoSchema,
  TensorProto_DataType,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from '../dist/models/formats/onnx_pb.js';

/** `widths`: inputs, units of each layer. Weights are small and random, so that no two models are alike. */
export function denseModel(widths) {
  const node = [];
  const initializer = [];
  let value = 'input';
  for (let layer = 1; layer < widths.length; layer++) {
    const [rows, columns] = [widths[layer - 1], widths[layer]];
    const last = layer === widths.length - 1;
    initializer.push(weights(`w${layer}`, [rows, columns]));
    node.push({ opType: 'MatMul', input: [value, `w${layer}`], output: [last ? 'output' : `m${layer}`] });
    if (!last) node.push({ opType: 'Relu', input: [`m${layer}`], output: [`r${layer}`] });
    value = `r${layer}`;
  }
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: 8n,
      producerName: 'bench',
      opsetImport: [{ domain: '', version: 17n }],
      graph: {
        name: 'dense',
        node,
        initializer,
        input: [matrix('input', widths[0])],
        output: [matrix('output', widths.at(-1))],
      },
    }),
  );
}

function weights(name, dims) {
  const random = randomFillSync(new Int32Array(dims[0] * dims[1]));
  const data = Float32Array.from(random, (value) => value / 2 ** 36);
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: TensorProto_DataType.FLOAT,
    rawData: new Uint8Array(data.buffer),
  });
}

function matrix(name, columns) {
  const dim = [
    { value: { case: 'dimParam', value: 'rows' } },
    { value: { case: 'dimValue', value: BigInt(columns) } },
  ];
  const value = { elemType: TensorProto_DataType.FLOAT, shape: { dim } };
  return create(ValueInfoProtoSchema, { name, type: { value: { case: 'tensorType', value } } });
}
