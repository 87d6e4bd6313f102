/** Requests and answers of REST, as JSON and with binary tensor data. */
import type { HttpReply } from './http-caller.ts';
import type { Values } from './models.ts';

export interface RestBody {
  body: Buffer;
  headers: Record<string, string>;
}

export interface RestForm {
  binary: boolean;
  binaryOutput: boolean;
  /** Undefined: all. */
  outputs: readonly string[] | undefined;
  parameters: Record<string, number>;
}

export function restBody(input: Values, { binary, binaryOutput, outputs, parameters }: RestForm): RestBody {
  const { name, datatype, shape, values } = input;
  const raw = binary ? pack(input) : undefined;
  const json = JSON.stringify({
    parameters: { ...parameters, ...(binaryOutput ? { binary_data_output: true } : {}) },
    inputs: [
      {
        name,
        datatype,
        shape,
        ...(raw ? { parameters: { binary_data_size: raw.length } } : { data: values }),
      },
    ],
    ...(outputs ? { outputs: outputs.map((wanted) => ({ name: wanted })) } : {}),
  });
  if (!raw) return { body: Buffer.from(json), headers: {} };
  const head = Buffer.from(json);
  return {
    body: Buffer.concat([head, raw]),
    headers: { 'inference-header-content-length': String(head.length) },
  };
}

interface RestAnswer {
  model_version: string;
  outputs: (Omit<Values, 'values'> & {
    data?: Values['values'];
    parameters?: { binary_data_size: number };
  })[];
}

/** Throws for what is no answer of the protocol. */
export function readAnswer({ headers, body }: HttpReply): { version: number; outputs: Values[] } {
  const headLength = Number(headers.get('inference-header-content-length') ?? body.length);
  const answer = JSON.parse(body.toString('utf8', 0, headLength)) as RestAnswer;
  let at = headLength;
  const outputs = answer.outputs.map(({ name, datatype, shape, data, parameters }): Values => {
    if (data) return { name, datatype, shape, values: data };
    const size = parameters?.binary_data_size ?? Number.NaN;
    const raw = body.subarray(at, at + size);
    at += size;
    return { name, datatype, shape, values: unpack(datatype, raw) };
  });
  if (at !== body.length) throw new Error(`${body.length - at} bytes are left over`);
  return { version: Number(answer.model_version), outputs };
}

export function pack({ datatype, values }: Pick<Values, 'datatype' | 'values'>): Buffer {
  if (datatype === 'FP32') return bufferOf(Float32Array.from(values, Number));
  if (datatype === 'INT64') return bufferOf(BigInt64Array.from(values, (value) => BigInt(value)));
  const parts: Buffer[] = [];
  for (const value of values) {
    const text = Buffer.from(String(value));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    parts.push(length, text);
  }
  return Buffer.concat(parts);
}

export function unpack(datatype: Values['datatype'], raw: Uint8Array): Values['values'] {
  const bytes = Uint8Array.from(raw);
  if (datatype === 'FP32') return [...new Float32Array(bytes.buffer)];
  if (datatype === 'INT64') return Array.from(new BigInt64Array(bytes.buffer), Number);
  const buffer = Buffer.from(bytes.buffer);
  const texts: string[] = [];
  for (let at = 0; at < buffer.length; ) {
    const end = at + 4 + buffer.readUInt32LE(at);
    if (end > buffer.length) throw new Error('a text is cut short');
    texts.push(buffer.toString('utf8', at + 4, end));
    at = end;
  }
  return texts;
}

function bufferOf({ buffer, byteOffset, byteLength }: Float32Array | BigInt64Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
