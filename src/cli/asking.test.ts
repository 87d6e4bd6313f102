import { expect, it } from 'vitest';
import { askLine } from './asking.ts';

const input = (name: string, datatype: string, shape: number[]) => ({ name, datatype, shape });
const line = (...inputs: ReturnType<typeof input>[]) => askLine('acme/m', { dataset: null, inputs });

it('asks each kind of model in its own way', () => {
  expect(askLine('acme/m', { dataset: 'acme/digits', inputs: [input('input', 'FP32', [-1, 100])] })).toBe(
    'commonwatt predict acme/m --row 7',
  );
  expect(line(input('text', 'BYTES', [-1]))).toBe('commonwatt predict acme/m --text "…"');
  expect(line(input('image', 'BYTES', [-1]))).toBe('commonwatt predict acme/m --image FILE');
  expect(line(input('query', 'BYTES', [-1]), input('document', 'BYTES', [-1]))).toBe(
    'commonwatt predict acme/m --set query="…" --set document="…"',
  );
  expect(line(input('X', 'FP32', [-1, 4]))).toBe("commonwatt predict acme/m --set 'X=[4 numbers]'");
  expect(line(input('X', 'FP32', [-1, 3, -1]), input('n', 'INT64', [-1]))).toBe(
    "commonwatt predict acme/m --set 'X=[3 × n numbers]' --set n=NUMBER",
  );
});
