/** The longer messages between a door and the server: tensors, answers, and refusals. */
import { deserialize, serialize } from 'node:v8';
import type { Footprint } from '../../energy/energy.ts';
import { CommonwattError, type ErrorCode } from '../../errors.ts';
import type { ModelRef, ModelSignature, TensorSpec } from '../../models/models.ts';
import { bytesPerElement, datatypes, emptyData, type Tensor } from '../../runtimes/tensor.ts';
import type { Inference } from '../../serve/serve.ts';
import { type Fields, kinds, type Outbox } from './frames.ts';

/** Who asks for what: everything that a decision depends on. */
export interface Asked {
  apiKey: string;
  ref: ModelRef;
}

/** The version that answers, as far as a door reads and writes by it. */
export interface Shown {
  version: number;
  versionId: string;
  signature: ModelSignature;
}

/** Inputs in the order of the signature: their names and datatypes are known to both sides. */
export function putInputs(outbox: Outbox, inputs: readonly Tensor[]): void {
  outbox.u32(inputs.length);
  for (const { shape, data } of inputs) {
    putShape(outbox, shape);
    outbox.bytes(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
}

export function takeInputs(fields: Fields, specs: readonly TensorSpec[]): Tensor[] {
  const inputs: Tensor[] = [];
  for (let left = fields.u32(); left > 0; left--) {
    const spec = specs[inputs.length];
    if (!spec) throw new RangeError('more inputs than the model has');
    const shape = takeShape(fields);
    inputs.push(tensorOf(spec.name, spec.datatype, shape, fields.bytes()));
  }
  return inputs;
}

const sources = ['computed', 'cached', 'joined'] as const satisfies Inference['source'][];

/** Writes answers for one door. Callers of one batch share a footprint: it is said once. */
export function answerWriter(outbox: Outbox): (call: number, inference: Inference) => void {
  let said: Footprint | undefined;
  return (call, { outputs, footprint, source, budgetWarning = '', ...times }) => {
    outbox.begin(kinds.answer).u32(call).u8(sources.indexOf(source));
    putTimes(outbox, times);
    outbox.text(budgetWarning).bytes(footprint === said ? nothing : serialize(footprint));
    outbox.u32(outputs.length);
    for (const { name, datatype, shape, data } of outputs) {
      outbox.text(name).u8(datatypes.indexOf(datatype));
      putShape(outbox, shape);
      outbox.bytes(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    }
    outbox.end();
    // An answer that could not be written was dropped, and its footprint with it.
    said = footprint;
  };
}

const nothing = new Uint8Array();

/** Reads what `answerWriter` wrote, after the number of the call. */
export function answerReader(): (fields: Fields) => Inference {
  let said: Footprint | undefined;
  return (fields) => {
    const source = sources[fields.u8()] ?? 'computed';
    const times = takeTimes(fields);
    const budgetWarning = fields.text();
    const bytes = fields.bytes();
    if (bytes.length > 0) said = deserialize(bytes) as Footprint;
    if (!said) throw new RangeError('an answer without a footprint');
    const outputs: Tensor[] = [];
    for (let left = fields.u32(); left > 0; left--) {
      const name = fields.text();
      const datatype = datatypes[fields.u8()];
      if (!datatype) throw new RangeError('an answer with an unknown datatype');
      const shape = takeShape(fields);
      outputs.push(tensorOf(name, datatype, shape, fields.bytes()));
    }
    return { outputs, footprint: said, source, ...(budgetWarning === '' ? {} : { budgetWarning }), ...times };
  };
}

type Times = Omit<Inference, 'outputs' | 'footprint' | 'source' | 'budgetWarning'>;

function putTimes(outbox: Outbox, { queueMs, batchMs, computeMs, batchRows, batchRequests, share }: Times) {
  outbox.f64(queueMs).f64(batchMs).f64(computeMs).u32(batchRows).u32(batchRequests);
  outbox.f64(share ?? Number.NaN);
}

function takeTimes(fields: Fields): Times {
  const [queueMs, batchMs, computeMs] = [fields.f64(), fields.f64(), fields.f64()];
  const [batchRows, batchRequests, share] = [fields.u32(), fields.u32(), fields.f64()];
  return { queueMs, batchMs, computeMs, batchRows, batchRequests, share: Number.isNaN(share) ? null : share };
}

function putShape(outbox: Outbox, shape: readonly number[]): void {
  outbox.u8(shape.length);
  for (const dimension of shape) outbox.u32(dimension);
}

function takeShape(fields: Fields): number[] {
  const shape: number[] = [];
  for (let left = fields.u8(); left > 0; left--) shape.push(fields.u32());
  return shape;
}

/** In memory of its own, aligned: a frame lies anywhere. */
function tensorOf(name: string, datatype: Tensor['datatype'], shape: number[], bytes: Buffer): Tensor {
  const data = emptyData(datatype, bytes.length / (bytesPerElement(datatype) ?? 1));
  new Uint8Array(data.buffer).set(bytes);
  return { name, datatype, shape, data };
}

interface Refusal {
  code: ErrorCode;
  message: string;
  hint?: string;
  where?: string;
  retryAfterS?: number;
}

export function refusalText(error: CommonwattError): string {
  const { code, message, hint, where, retryAfterS } = error;
  return JSON.stringify({ code, message, hint, where, retryAfterS });
}

export function refusalOf(text: string): CommonwattError {
  const { code, message, ...details } = JSON.parse(text) as Refusal;
  return new CommonwattError(code, message, details);
}
