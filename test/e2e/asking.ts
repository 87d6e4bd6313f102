/** One question to the example server, in every way there is, and what the caller sees of its limits. */
import { GrpcCaller, grpcRequest } from '../canary/grpc-caller.ts';
import { HttpCaller } from '../canary/http-caller.ts';
import type { Values } from '../canary/models.ts';
import { restBody } from '../canary/rest.ts';
import type { ExampleServer } from './server.ts';

export const protocols = [
  'json',
  'binary',
  'generate',
  'generate_stream',
  'grpc',
  'stream',
  'explain',
  'evaluate',
  'batch',
  'train',
] as const;
export type Protocol = (typeof protocols)[number];

export interface Asked {
  answered: boolean;
  /** With 429, RESOURCE_EXHAUSTED, or what a stream or job says in its place. */
  refused: boolean;
  warning: string | undefined;
  message: string;
  /** Undefined: it has no place for that. */
  retryAfterS: number | undefined;
}

export function waysOf(protocol: Protocol): {
  /** Jobs are answered before anything is used. */
  warns: boolean;
  /** How often it asks for a place: a batch for itself and for its rows. */
  asks: number;
} {
  return { warns: protocol !== 'train' && protocol !== 'batch', asks: protocol === 'batch' ? 2 : 1 };
}

const model = 'acme/digits';
/** Never twice the same: nothing is answered from memory. */
const question = (): Values => ({
  name: 'input',
  datatype: 'FP32',
  shape: [1, 100],
  values: Array.from({ length: 100 }, () => Math.random()),
});

export function askBy(server: ExampleServer, protocol: Protocol, apiKey: string): Promise<Asked> {
  switch (protocol) {
    case 'grpc':
    case 'stream':
      return askGrpc(server, protocol, apiKey);
    case 'json':
    case 'binary':
    case 'generate':
    case 'generate_stream':
      return askRest(server, protocol, apiKey);
    case 'explain':
      return post(server, `models/${encodeURIComponent(model)}/explain`, apiKey, {
        instances: [question().values],
        maxCalls: 16,
      });
    case 'evaluate':
      return post(server, `models/${encodeURIComponent(model)}/versions/1/evaluations`, apiKey, {
        dataset: 'digits',
      });
    case 'batch':
      return job(server, apiKey, { kind: 'batch', config: { model, rows: [question().values] } });
    case 'train':
      return train(server, apiKey);
  }
}

async function askRest({ baseUrl }: ExampleServer, protocol: Protocol, apiKey: string): Promise<Asked> {
  const form = { binary: protocol === 'binary', binaryOutput: false, outputs: undefined, parameters: {} };
  const isGenerated = protocol === 'generate' || protocol === 'generate_stream';
  const { body, headers } = isGenerated
    ? { body: Buffer.from(JSON.stringify({ input: question().values })), headers: {} }
    : restBody(question(), form);
  const caller = new HttpCaller(baseUrl);
  try {
    const reply = await caller.send({
      path: `/v2/models/${encodeURIComponent(model)}/${isGenerated ? protocol : 'infer'}`,
      body,
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json', ...headers },
    });
    if (!reply) throw new Error('nobody left');
    const text = reply.body.toString();
    return {
      answered: reply.status === 200,
      refused: reply.status === 429,
      warning: reply.headers.get('x-commonwatt-budget-warning'),
      message: text,
      retryAfterS:
        Number(reply.headers.get('retry-after') ?? (reply.status === 429 ? Number.NaN : 0)) || undefined,
    };
  } finally {
    caller.close();
  }
}

async function askGrpc(
  { example }: ExampleServer,
  protocol: 'grpc' | 'stream',
  apiKey: string,
): Promise<Asked> {
  const caller = new GrpcCaller(example.grpcAddress ?? '');
  const request = grpcRequest('acme/digits', '', question(), { id: 'a', raw: true });
  const nothing = { warning: undefined, retryAfterS: undefined };
  try {
    if (protocol === 'grpc') {
      const reply = await caller.unary(request, { apiKey });
      const warning = reply?.response?.parameters.commonwatt_budget_warning?.parameterChoice.value;
      return {
        ...nothing,
        answered: reply?.code === 0,
        refused: reply?.code === 8,
        message: reply?.message ?? '',
        warning: warning === undefined ? undefined : String(warning),
      };
    }
    const { replies, code, message } = await caller.stream([request], { apiKey });
    const [reply] = [...replies.values()];
    const warning = reply?.response?.parameters.commonwatt_budget_warning?.parameterChoice.value;
    return {
      ...nothing,
      answered: code === 0 && reply?.message === '',
      refused: reply !== undefined && reply.message !== '',
      message: reply?.message ?? message,
      warning: warning === undefined ? undefined : String(warning),
    };
  } finally {
    caller.close();
  }
}

async function post(
  { baseUrl }: ExampleServer,
  path: string,
  apiKey: string,
  body?: unknown,
): Promise<Asked> {
  const answer = await fetch(`${baseUrl}/api/v1/${path}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${apiKey}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const retryAfter = answer.headers.get('retry-after');
  return {
    answered: answer.ok,
    refused: answer.status === 429,
    warning: answer.headers.get('x-commonwatt-budget-warning') ?? undefined,
    message: await answer.text(),
    retryAfterS: answer.status === 429 ? Number(retryAfter ?? Number.NaN) : undefined,
  };
}

/** That it may begin is the answer. */
async function train(server: ExampleServer, apiKey: string): Promise<Asked> {
  const layers = [{ type: 'dense', units: 1, activation: 'sigmoid' }];
  const asked = await post(server, 'jobs', apiKey, {
    kind: 'train',
    config: { dataset: 'digits', epochs: 1, layers },
  });
  if (!asked.answered) return asked;
  const { id } = JSON.parse(asked.message) as { id: string };
  await post(server, `jobs/${id}/cancel`, apiKey);
  await ended(server, apiKey, asked);
  return asked;
}

/** Its end is the answer. */
async function job(server: ExampleServer, apiKey: string, request: unknown): Promise<Asked> {
  const asked = await post(server, 'jobs', apiKey, request);
  if (!asked.answered) return asked;
  const { state, error } = await ended(server, apiKey, asked);
  return {
    ...asked,
    answered: state === 'succeeded',
    refused: error?.code === 'LIMIT_EXCEEDED',
    message: error?.message ?? '',
  };
}

interface JobEnd {
  id: string;
  state: string;
  error: { code: string; message: string } | null;
}

async function ended({ baseUrl }: ExampleServer, apiKey: string, { message }: Asked): Promise<JobEnd> {
  const { id } = JSON.parse(message) as JobEnd;
  for (;;) {
    const answer = await fetch(`${baseUrl}/api/v1/jobs/${id}`, {
      headers: { authorization: `Bearer ${apiKey}` },
    });
    const job = (await answer.json()) as JobEnd;
    if (job.state !== 'queued' && job.state !== 'running') return job;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
