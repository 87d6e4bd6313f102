import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CommonwattError } from '../../errors.ts';
import { planFromConfig } from './keras-plan.ts';

const limits = { maxLayers: 100, maxParameters: 1e6, maxRowElements: 1e5 };

const dense = (name: string, more: object = {}) => ({
  class_name: 'Dense',
  config: { name, dtype: 'float32', units: 3, activation: 'relu', use_bias: true, ...more },
});

/** What Keras 2.15 writes for Model(x, Dense(Dense(x))), as documented in its `get_config`. */
const functional2 = {
  class_name: 'Functional',
  config: {
    name: 'model',
    layers: [
      { ...dense('second'), name: 'second', inbound_nodes: [[['first', 0, 0, {}]]] },
      {
        class_name: 'InputLayer',
        config: {
          batch_input_shape: [null, 4],
          dtype: 'float32',
          sparse: false,
          ragged: false,
          name: 'input_1',
        },
        name: 'input_1',
        inbound_nodes: [],
      },
      { ...dense('first'), name: 'first', inbound_nodes: [[['input_1', 0, 0, {}]]] },
    ],
    input_layers: [['input_1', 0, 0]],
    output_layers: [['second', 0, 0]],
  },
};

function sequential(...layers: object[]): string {
  return JSON.stringify({ class_name: 'Sequential', config: { name: 's', layers } });
}
const input = { class_name: 'InputLayer', config: { batch_shape: [null, 4], dtype: 'float32', name: 'in' } };

describe('a model configuration', () => {
  it('of a functional model of Keras 2 is followed from input to output, in whatever order it is listed', () => {
    const plan = planFromConfig(JSON.stringify(functional2), '2.15.0', limits);
    expect(plan.layers.map((layer) => layer.name)).toEqual(['input_1', 'first', 'second']);
    expect(plan.weights.map(({ layer, shape }) => [...layer, shape])).toEqual([
      ['first', [4, 3]],
      ['first', [3]],
      ['second', [3, 3]],
      ['second', [3]],
    ]);
    expect(plan.parameters).toBe(4 * 3 + 3 + 3 * 3 + 3);
  });

  it('that goes round in a circle is refused', () => {
    const circle = structuredClone(functional2);
    const first = circle.config.layers[2];
    if (first) first.inbound_nodes = [[['second', 0, 0, {}]]];
    expect(() => planFromConfig(JSON.stringify(circle), '2.15.0', limits)).toThrow(/in a circle/);
  });

  it('hard_sigmoid means another function in Keras 2 than in Keras 3', () => {
    const text = sequential(input, dense('d', { activation: 'hard_sigmoid' }));
    const slope = (version: string) =>
      planFromConfig(text, version, limits).graph.nodes.find(({ op }) => op === 'HardSigmoid')?.attributes;
    expect(slope('2.15.0')).toEqual({ alpha: { float: 0.2 }, beta: { float: 0.5 } });
    expect(slope('3.15.1')).toEqual({ alpha: { float: 1 / 6 }, beta: { float: 0.5 } });
  });

  it.each([
    [
      'a Lambda with code',
      { class_name: 'Lambda', config: { name: 'l', function: ['4wEAAA==', null, null] } },
      'UNSAFE_MODEL',
    ],
    ['an operator as lambda', { class_name: 'TFOpLambda', config: { name: 'l' } }, 'UNSAFE_MODEL'],
    ['a registered class', { class_name: 'Custom>Dense', config: { name: 'l' } }, 'UNSAFE_MODEL'],
    ['a class of another module', { ...dense('l'), module: 'builtins' }, 'UNSAFE_MODEL'],
    ['a quantised layer', dense('l', { quantization_config: { mode: 'int8' } }), 'UNSUPPORTED_LAYER'],
    ['a low-rank layer', dense('l', { lora_rank: 4 }), 'UNSUPPORTED_LAYER'],
    ['an activation that is an object', dense('l', { activation: { class_name: 'x' } }), 'UNSUPPORTED_LAYER'],
    [
      'an activation named like an object property',
      dense('l', { activation: '__proto__' }),
      'UNSUPPORTED_LAYER',
    ],
    ['a layer named like an object property', { class_name: 'constructor', config: {} }, 'UNSUPPORTED_LAYER'],
    ['units that are no number', dense('l', { units: 2.5 }), 'UNSUPPORTED_LAYER'],
    ['units of 2^40', dense('l', { units: 2 ** 40 }), 'UNSAFE_MODEL'],
  ])('%s is refused by name', (_, layer, code) => {
    try {
      planFromConfig(sequential(input, layer), '3.15.1', limits);
    } catch (error) {
      if (!(error instanceof CommonwattError)) throw error;
      expect(error.code).toBe(code);
      expect(error.where).toBeTruthy();
      expect(error.hint).toBeTruthy();
      return;
    }
    throw new Error('not refused');
  });

  it('of any JSON is planned within the limits or refused, and never fails otherwise', () => {
    const layer = fc.record({
      class_name: fc.constantFrom(
        'InputLayer',
        'Dense',
        'Flatten',
        'BatchNormalization',
        'ReLU',
        'Softmax',
        'Lambda',
      ),
      config: fc.record(
        {
          name: fc.string({ maxLength: 3 }),
          units: fc.oneof(fc.integer(), fc.double(), fc.jsonValue()),
          batch_shape: fc.oneof(fc.jsonValue(), fc.array(fc.option(fc.integer({ min: 0, max: 1e6 })))),
          activation: fc.oneof(fc.constant('relu'), fc.jsonValue()),
          axis: fc.jsonValue(),
          dtype: fc.oneof(fc.constant('float32'), fc.jsonValue()),
        },
        { requiredKeys: ['name'] },
      ),
    });
    const text = fc.oneof(
      fc.json(),
      fc.array(layer, { maxLength: 4 }).map((layers) => sequential(...layers)),
      fc.array(layer, { maxLength: 4 }).map((layers) => sequential(input, ...layers)),
    );
    fc.assert(
      fc.property(text, (config) => {
        try {
          expect(planFromConfig(config, '3.15.1', limits).parameters).toBeLessThanOrEqual(
            limits.maxParameters,
          );
        } catch (error) {
          if (!(error instanceof CommonwattError)) throw error;
        }
      }),
      { numRuns: 2000, seed: 4 },
    );
  });
});
