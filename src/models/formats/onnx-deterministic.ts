/** Whether an ONNX model always answers the same for the same inputs: only then may an answer be used twice. */
import type { GraphProto, ModelProto, NodeProto, TensorProto } from './onnx_pb.ts';

/** Operators that draw random numbers; a `seed` fixes the sequence of answers, not each answer. */
const drawing = new Set([
  'RandomNormal',
  'RandomNormalLike',
  'RandomUniform',
  'RandomUniformLike',
  'Multinomial',
  'Bernoulli',
]);
/** Those of com.microsoft; its dropouts are for training only. */
const drawingOfRuntime = new Set(['Sampling', 'BiasDropout', 'BitmaskDropout', 'BitmaskBiasDropout']);

/** Sub-graphs and the model's own functions included. In doubt the answer is no. */
export function isDeterministic({ graph, functions }: ModelProto): boolean {
  return (
    !(graph && drawsIn(graph)) &&
    !anyDraws(
      functions.flatMap((fn) => fn.node),
      [],
    )
  );
}

function drawsIn({ node, initializer }: GraphProto): boolean {
  return anyDraws(node, initializer);
}

function anyDraws(nodes: readonly NodeProto[], initializers: readonly TensorProto[]): boolean {
  return nodes.some(({ opType, domain, input, attribute }) => {
    if (domain === '' || domain === 'ai.onnx') {
      if (drawing.has(opType)) return true;
      if (opType === 'Dropout' && mayBeTrue(input[2], nodes, initializers)) return true;
    }
    if (domain === 'com.microsoft' && drawingOfRuntime.has(opType)) return true;
    return attribute.some(({ g, graphs }) => (g !== undefined && drawsIn(g)) || graphs.some(drawsIn));
  });
}

/** Of Dropout's `training_mode`: false when it is absent or written down as false in the same graph. */
function mayBeTrue(
  name: string | undefined,
  nodes: readonly NodeProto[],
  initializers: readonly TensorProto[],
): boolean {
  if (name === undefined || name === '') return false;
  const constant = nodes.find(({ opType, output }) => opType === 'Constant' && output[0] === name);
  const tensor =
    initializers.find((initializer) => initializer.name === name) ??
    constant?.attribute.find((attribute) => attribute.name === 'value')?.t;
  if (!tensor) return true;
  const values = [...tensor.rawData, ...tensor.int32Data];
  return values.length === 0 || values.some((value) => value !== 0);
}
