// What is served and asked: a model, its tensors, 64 different rows, and how one row becomes a request.
import { distinctRows } from '../example.mjs';
import { uniqueMark } from '../load.mjs';
import { convolution, encoder, tokens } from './networks.mjs';

/** The first number of a row that may be another one in each request: `load` writes eight digits in its place. */
const placeholder = 0.12345678;

/** `bytes`: the example network as it was trained and exported. */
export function exampleWorkload(bytes) {
  return {
    title: 'the example network (100 inputs)',
    model: 'example',
    bytes,
    inputs: [{ name: 'input', datatype: 'FP32', shape: [100] }],
    output: { name: 'output', shape: [1] },
    rows: distinctRows(64).map((row) => [Float32Array.of(placeholder, 0, ...row.slice(2))]),
  };
}

export function convolutionWorkload() {
  const pixel = (row, index) => Math.round(1000 * Math.abs(Math.sin(row * 784 + index))) / 1000;
  return {
    title: 'a small convolutional network (28 × 28, three layers)',
    model: 'convolution',
    bytes: convolution(),
    inputs: [{ name: 'input', datatype: 'FP32', shape: [1, 28, 28] }],
    output: { name: 'output', shape: [10] },
    rows: Array.from({ length: 64 }, (_, row) => [
      Float32Array.from({ length: 784 }, (_, index) =>
        index > 1 ? pixel(row, index) : index === 0 ? placeholder : 0,
      ),
    ]),
  };
}

/** Answers take so long that a window of some seconds must begin and end with a batch: see closed-loop.mjs. */
export function encoderWorkload() {
  return {
    title: `a text encoder of MiniLM's size (${tokens} tokens)`,
    model: 'encoder',
    bytes: encoder(),
    slow: true,
    inputs: ['input_ids', 'attention_mask'].map((name) => ({ name, datatype: 'INT64', shape: [tokens] })),
    output: { name: 'output', shape: [384] },
    rows: Array.from({ length: 64 }, (_, row) => [
      BigInt64Array.from({ length: tokens }, (_, index) => BigInt((row * 7919 + index * 104_729) % 30_522)),
      new BigInt64Array(tokens).fill(1n),
    ]),
  };
}

/** One request of the Open Inference Protocol as JSON. */
export function v2Json({ inputs }, row) {
  const tensors = inputs.map(({ name, datatype, shape }, at) => ({
    name,
    shape: [1, ...shape],
    datatype,
    data: numbersOf(row[at]),
  }));
  return json({ inputs: tensors });
}

/** What LitServe, BentoML and Ray Serve are asked here: a list of one row of numbers. */
export function listJson(_, row) {
  return json({ inputs: [numbersOf(row[0])] });
}

/** One request of the binary tensor data extension: a JSON head, then the raw numbers. */
export function v2Binary({ inputs }, row) {
  const tensors = inputs.map(({ name, datatype, shape }, at) => ({
    name,
    shape: [1, ...shape],
    datatype,
    parameters: { binary_data_size: row[at].byteLength },
  }));
  const head = Buffer.from(JSON.stringify({ inputs: tensors, parameters: { binary_data_output: true } }));
  const data = Buffer.concat(row.map(({ buffer }) => Buffer.from(buffer)));
  // Any eight digits are two small floats.
  if (isMarked(row)) data.write(uniqueMark, 0, 'latin1');
  const headers = {
    'content-type': 'application/octet-stream',
    'inference-header-content-length': String(head.length),
  };
  return { body: Buffer.concat([head, data]), headers };
}

/** A request that can be sent as it is: as raw bytes the second number becomes 0, too. */
export function withoutMark({ body, headers }) {
  const bytes = Buffer.from(body);
  const at = bytes.indexOf(uniqueMark);
  if (at < 0) return { body: bytes, headers };
  if (headers['inference-header-content-length']) {
    bytes.writeFloatLE(placeholder, at);
    bytes.writeFloatLE(0, at + 4);
  } else bytes.write(String(placeholder).slice(2), at, 'latin1');
  return { body: bytes, headers };
}

function json(value) {
  const text = JSON.stringify(value).replace(String(placeholder), `0.${uniqueMark}`);
  return { body: text, headers: { 'content-type': 'application/json' } };
}

/** As a person would write them: without the digits that float32 adds. */
function numbersOf(values) {
  if (!(values instanceof Float32Array)) return Array.from(values, Number);
  return Array.from(values, (value) => (isPlaceholder(value) ? placeholder : Number(value.toPrecision(6))));
}

function isPlaceholder(value) {
  return value === Math.fround(placeholder);
}

function isMarked([first]) {
  return first instanceof Float32Array && isPlaceholder(first[0]);
}
