import { describe, expect, it } from 'vitest';
import { CommonwattError } from '../errors.ts';
import type { ModelSignature } from '../models/models.ts';
import { isEnsemble, readPlan, signatureOf } from './ensemble-plan.ts';

const signatures = new Map<string, ModelSignature>([
  [
    'embed',
    {
      inputs: [{ name: 'text', datatype: 'BYTES', shape: [-1] }],
      outputs: [{ name: 'embedding', datatype: 'FP32', shape: [-1, 16] }],
    },
  ],
  [
    'judge',
    {
      inputs: [
        { name: 'x', datatype: 'FP32', shape: [-1, 16] },
        { name: 'weight', datatype: 'FP32', shape: [-1, -1] },
      ],
      outputs: [{ name: 'a.b', datatype: 'FP32', shape: [-1, 2] }],
    },
  ],
]);

const good = `# What it is for.
---
ensemble: 1
steps:
  judge: { model: 'acme/head:2', inputs: { x: embed.embedding, weight: weight } }
  embed: { model: acme--encoder@production, inputs: { text: text } }
outputs: { score: judge.a.b, embedding: embed.embedding }
`;

const plan = (yaml: string) => readPlan(Buffer.from(yaml));
const whole = (yaml: string) => signatureOf(plan(yaml), signatures);

describe('an ensemble', () => {
  it('is known by its first word', () => {
    expect(isEnsemble(Buffer.from(good))).toBe(true);
    expect(isEnsemble(Buffer.from('steps: {}\nensemble: 1'))).toBe(false);
    expect(isEnsemble(Buffer.from([0x08, 0x08, 0x12]))).toBe(false);
    expect(isEnsemble(Buffer.from('an ensemble: of words'))).toBe(false);
  });

  it('puts its steps in order and tells what it takes and gives', () => {
    expect(plan(good).steps.map(({ name, ref }) => [name, ref])).toEqual([
      ['embed', { organisation: 'acme', name: 'encoder', alias: 'production' }],
      ['judge', { organisation: 'acme', name: 'head', version: 2 }],
    ]);
    expect(whole(good)).toEqual({
      inputs: [
        { name: 'text', datatype: 'BYTES', shape: [-1] },
        { name: 'weight', datatype: 'FP32', shape: [-1, -1] },
      ],
      outputs: [
        { name: 'score', datatype: 'FP32', shape: [-1, 2] },
        { name: 'embedding', datatype: 'FP32', shape: [-1, 16] },
      ],
    });
  });

  it('narrows an input that several steps take', () => {
    const both = good.replace('weight: weight', 'weight: x').replace('x: embed.embedding', 'x: x');
    expect(whole(both).inputs).toContainEqual({ name: 'x', datatype: 'FP32', shape: [-1, 16] });
  });

  it.each([
    ['a cycle', good.replace('text: text', 'text: judge.a.b'), /embed, judge|judge, embed/],
    ['itself', good.replace('text: text', 'text: embed.embedding'), /wait for each other/],
    ['a step that is none', good.replace('x: embed.', 'x: other.'), /names no step's output/],
    [
      'an output that is none',
      good.replace('embedding: embed.embedding', 'e: embed.z'),
      /has no output "z"; it has embedding/,
    ],
    ['an output of the request', good.replace('score: judge.a.b', 'score: text'), /names no step's output/],
    ['an input that is missing', good.replace(', weight: weight', ''), /needs the input "weight"/],
    ['an input that is none', good.replace('weight: weight', 'weight: w, z: w'), /no input "z"/],
    ['other datatypes', good.replace('x: embed.embedding', 'x: text'), /is given where|is wanted/],
    ['no steps', 'ensemble: 1\nsteps: {}\noutputs: { a: b.c }', /no steps/],
    ['too many steps', manySteps(33), /33 steps; at most 32/],
    ['an unknown field', `${good}more: 1`, /more|Unrecognized/],
    ['a version of the form that is not known', good.replace('ensemble: 1', 'ensemble: 2'), /ensemble/],
    ['YAML with aliases', 'ensemble: 1\nsteps: &a {}\noutputs: *a', /alias/i],
    ['no YAML', 'ensemble: [', /ensemble/],
    ['a name that is no model', good.replace('acme/head:2', 'head'), /not a model name/],
  ])('with %s is refused, saying where', (_, yaml, message) => {
    let error: unknown;
    try {
      whole(yaml);
    } catch (cause) {
      error = cause;
    }
    if (!(error instanceof CommonwattError)) throw new Error('not refused', { cause: error });
    expect(error.code).toMatch(/INVALID_CONFIG|INVALID_NAME/);
    expect(error.message).toMatch(message);
    expect(error.where).toBeTruthy();
  });
});

function manySteps(count: number): string {
  const steps = Array.from({ length: count }, (_, i) => `  s${i}: { model: a/b, inputs: { x: x } }`);
  return `ensemble: 1\nsteps:\n${steps.join('\n')}\noutputs: { y: s0.y }`;
}
