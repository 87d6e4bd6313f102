/** gRPC on an HTTP/2 connection of its own: single calls and streams of many, which can be given up in the middle. */
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import { create, fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { framed } from '../../src/api/inference/grpc-infer.ts';
import { FrameReader } from '../../src/api/inference/grpc-receive.ts';
import {
  type ModelInferRequest,
  ModelInferRequestSchema,
  type ModelInferResponse,
  ModelInferResponseSchema,
  ModelStreamInferResponseSchema,
} from '../../src/api/inference/proto/open_inference_grpc_pb.ts';
import type { Values } from './models.ts';
import { pack, unpack } from './rest.ts';

export interface GrpcReply {
  /** Of gRPC; 0 is success. */
  code: number;
  message: string;
  requestId: string;
  source: string | undefined;
  response: ModelInferResponse | undefined;
}

export interface GrpcOptions {
  apiKey: string;
  timeoutMs?: number | undefined;
  leaveAfterMs?: number | undefined;
  reuse?: boolean;
}

export type StreamReply = Pick<GrpcReply, 'message' | 'response'>;

const service = '/inference.GRPCInferenceService';
const largest = 1 << 24;

export class GrpcCaller {
  readonly #address: string;
  #session: ClientHttp2Session | undefined;

  constructor(address: string) {
    this.#address = address;
  }

  /** Undefined: the caller left. Throws when the server broke off. */
  async unary(request: ModelInferRequest, options: GrpcOptions): Promise<GrpcReply | undefined> {
    const frames = new FrameReader(largest);
    const end = await this.#call('ModelInfer', options, (stream) => {
      stream.end(framed(ModelInferRequestSchema, request));
      return (chunk) => frames.push(chunk);
    });
    if (!end) return undefined;
    const { headers, code, message } = end;
    const [response, another] = [...messages(frames)].map((bytes) =>
      fromBinary(ModelInferResponseSchema, bytes),
    );
    if (another || (code === 0) !== (response !== undefined))
      throw new Error(
        `status ${code} came with ${another ? 'two messages' : response ? 'a message' : 'none'}`,
      );
    const requestId = String(headers['x-commonwatt-request-id'] ?? '');
    const source = headers['x-commonwatt-source'];
    return { code, message, requestId, source: source === undefined ? undefined : String(source), response };
  }

  /** Answers by the ids of their requests; fewer than the requests when the caller left or the call failed. */
  async stream(
    requests: readonly ModelInferRequest[],
    options: GrpcOptions,
  ): Promise<{ code: number | undefined; message: string; replies: Map<string, StreamReply> }> {
    const frames = new FrameReader(largest);
    const replies = new Map<string, StreamReply>();
    const end = await this.#call('ModelStreamInfer', options, (stream) => {
      for (const request of requests) stream.write(framed(ModelInferRequestSchema, request));
      stream.end();
      return (chunk) => {
        frames.push(chunk);
        for (const bytes of messages(frames)) {
          const { errorMessage, inferResponse } = fromBinary(ModelStreamInferResponseSchema, bytes);
          const id = inferResponse?.id ?? '';
          if (replies.has(id)) throw new Error(`request ${id} was answered twice`);
          replies.set(id, { message: errorMessage, response: inferResponse });
        }
      };
    });
    return { code: end?.code, message: end?.message ?? '', replies };
  }

  close(): void {
    this.#session?.destroy();
    this.#session = undefined;
  }

  #call(
    method: string,
    { apiKey, timeoutMs, leaveAfterMs, reuse = true }: GrpcOptions,
    begin: (stream: ClientHttp2Stream) => (chunk: Buffer) => void,
  ): Promise<{ headers: Record<string, unknown>; code: number; message: string } | undefined> {
    if (!this.#session || this.#session.closed || this.#session.destroyed) {
      this.#session = connect(`http://${this.#address}`);
      this.#session.on('error', () => {});
    }
    const stream = this.#session.request({
      ':method': 'POST',
      ':path': `${service}/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
      authorization: `Bearer ${apiKey}`,
      ...(timeoutMs === undefined ? {} : { 'grpc-timeout': `${Math.ceil(timeoutMs * 1000)}u` }),
      ...(reuse ? {} : { 'cache-control': 'no-store' }),
    });
    return new Promise((resolve, reject) => {
      let headers: Record<string, unknown> = {};
      let trailers: Record<string, unknown> | undefined;
      let left = false;
      const leave =
        leaveAfterMs === undefined
          ? undefined
          : setTimeout(() => {
              left = true;
              stream.close(constants.NGHTTP2_CANCEL);
            }, leaveAfterMs);
      const read = begin(stream);
      stream.on('response', (heard) => {
        headers = heard;
        // An error may come as headers alone.
        if (heard['grpc-status'] !== undefined) trailers = heard;
      });
      stream.on('trailers', (heard) => {
        trailers = heard;
      });
      stream.on('data', (chunk: Buffer) => {
        try {
          read(chunk);
        } catch (error) {
          reject(error);
          stream.close(constants.NGHTTP2_CANCEL);
        }
      });
      stream.on('error', () => {});
      stream.on('close', () => {
        clearTimeout(leave);
        if (trailers)
          resolve({
            headers,
            code: Number(trailers['grpc-status']),
            message: decodeURIComponent(String(trailers['grpc-message'] ?? '')),
          });
        else if (left) resolve(undefined);
        else reject(new Error(`the server broke off (${stream.rstCode})`));
      });
    });
  }
}

function* messages(frames: FrameReader): Generator<Uint8Array> {
  while (frames.hasMessage) yield frames.shift().subarray(5);
}

export function grpcRequest(
  modelName: string,
  modelVersion: string,
  input: Values,
  {
    id,
    raw,
    outputs,
    priority,
  }: { id: string; raw: boolean; outputs?: readonly string[] | undefined; priority?: number | undefined },
): ModelInferRequest {
  const { name, datatype, shape } = input;
  return create(ModelInferRequestSchema, {
    modelName,
    modelVersion,
    id,
    inputs: [{ name, datatype, shape: shape.map(BigInt), ...(raw ? {} : { contents: contentsOf(input) }) }],
    rawInputContents: raw ? [pack(input)] : [],
    outputs: (outputs ?? []).map((wanted) => ({ name: wanted })),
    parameters:
      priority === undefined
        ? {}
        : { priority: { parameterChoice: { case: 'int64Param', value: BigInt(priority) } } },
  });
}

type Contents = MessageInitShape<typeof ModelInferRequestSchema>['inputs'];

function contentsOf({ datatype, values }: Values): NonNullable<NonNullable<Contents>[number]['contents']> {
  if (datatype === 'BYTES') return { bytesContents: values.map((value) => Buffer.from(String(value))) };
  if (datatype === 'INT64') return { int64Contents: values.map(BigInt) };
  return { fp32Contents: values.map(Number) };
}

export function grpcOutputs({ outputs, rawOutputContents }: ModelInferResponse): Values[] {
  return outputs.map(({ name, datatype, shape, contents }, index) => {
    const type = datatype as Values['datatype'];
    const raw = rawOutputContents[index];
    return {
      name,
      datatype: type,
      shape: shape.map(Number),
      values: raw ? unpack(type, raw) : typedValues(type, contents),
    };
  });
}

function typedValues(
  datatype: Values['datatype'],
  contents: ModelInferResponse['outputs'][number]['contents'],
): Values['values'] {
  if (datatype === 'BYTES')
    return (contents?.bytesContents ?? []).map((bytes) => Buffer.from(bytes).toString());
  if (datatype === 'INT64') return (contents?.int64Contents ?? []).map(Number);
  return contents?.fp32Contents ?? [];
}
