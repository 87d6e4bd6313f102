/**
 * Recurrent layers over time steps of which some do not count. Keras leaves the state as it is at such a step;
 * ONNX only knows sequences that end early. So the steps that count move to the front, in order, the cell runs
 * over as many as there are, and its outputs go back to where their steps were.
 */
import type { Graph } from '../graph.ts';

const int32 = 6;
const int64 = 7;
const float32 = 1;

interface Steps {
  packed: string;
  /** How many steps count, INT32 [batch]. */
  lengths: string;
  mask: string;
  /** How many of the steps up to each one count, INT64 [batch, time]. */
  count: string;
}

/** x: [batch, time, features]; mask: BOOL [batch, time]. */
export function packSteps(graph: Graph<number>, x: string, mask: string): Steps {
  const counted = graph.node('Cast', [mask], { to: { int: int64 } });
  const count = graph.node('CumSum', [counted, graph.integers(1)]);
  const total = graph.node('ReduceSum', [counted, graph.integers([1])], { keepdims: { int: 1 } });
  // Steps that count go to 0, 1, …; the others behind them: each place is taken once.
  const skipped = graph.node('CumSum', [
    graph.node('Sub', [graph.integers([1]), counted]),
    graph.integers(1),
  ]);
  const front = graph.node('Sub', [count, graph.integers([1])]);
  const behind = graph.node('Sub', [graph.node('Add', [total, skipped]), graph.integers([1])]);
  const place = graph.node('Where', [mask, front, behind]);
  const index = wide(graph, place, x);
  return {
    packed: graph.node('ScatterElements', [x, index, x], { axis: { int: 1 } }),
    lengths: graph.node('Cast', [graph.node('Squeeze', [total, graph.integers([1])])], {
      to: { int: int32 },
    }),
    mask,
    count,
  };
}

/** y: outputs of the packed steps. A step that does not count repeats the output before it (after it, backwards), or is zero. */
export function spreadSteps(
  graph: Graph<number>,
  y: string,
  steps: Steps,
  reverse: boolean,
  zero: boolean,
): string {
  const { count, mask } = steps;
  const one = graph.integers([1]);
  // Backwards, the last output "before" a step is that of the next step that counts.
  const next = reverse
    ? graph.node('Sub', [
        graph.node('Add', [
          count,
          graph.node('Sub', [one, graph.node('Cast', [mask], { to: { int: int64 } })]),
        ]),
        one,
      ])
    : graph.node('Sub', [count, one]);
  const total = graph.node('Unsqueeze', [graph.node('Cast', [steps.lengths], { to: { int: int64 } }), one]);
  const exists = reverse
    ? graph.node('Less', [next, total])
    : graph.node('GreaterOrEqual', [next, graph.integers(0)]);
  const shown = zero ? mask : exists;
  const safe = graph.node('Where', [exists, next, graph.integers(0)]);
  const spread = graph.node('GatherElements', [y, wide(graph, safe, y)], { axis: { int: 1 } });
  const kept = graph.node('Unsqueeze', [
    graph.node('Cast', [shown], { to: { int: float32 } }),
    graph.integers([2]),
  ]);
  return graph.node('Mul', [spread, kept]);
}

/** The same index for each feature. */
function wide(graph: Graph<number>, index: string, like: string): string {
  return graph.node('Expand', [
    graph.node('Unsqueeze', [index, graph.integers([2])]),
    graph.node('Shape', [like]),
  ]);
}
