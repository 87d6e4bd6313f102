/** One caller: sends request after request, each with values of its own, and judges whatever comes back. */
import { GrpcCaller, grpcOutputs, grpcRequest } from './grpc-caller.ts';
import type { House, Organisation, Usable } from './house.ts';
import { HttpCaller, type HttpReply } from './http-caller.ts';
import { type Canary, kinds, type Values } from './models.ts';
import { readAnswer, restBody } from './rest.ts';
import type { Tally } from './tally.ts';

export type Protocol = 'json' | 'binary' | 'grpc' | 'stream';
export const protocols: readonly Protocol[] = ['json', 'binary', 'grpc', 'stream'];

type Intent = 'plain' | 'again' | 'no-store' | 'leave' | 'deadline' | 'bad' | 'forbidden';
/** Of a hundred requests; the rest are plain. */
const shares: readonly [Intent, number][] = [
  ['again', 12],
  ['no-store', 4],
  ['leave', 5],
  ['deadline', 4],
  ['bad', 4],
  ['forbidden', 2],
];

interface Ask {
  intent: Intent;
  usable: Usable;
  /** As it is named in the request; the version apart. */
  model: string;
  version: string;
  alias: boolean;
  input: Values;
  outputs: string[] | undefined;
  priority: number | undefined;
  leaveAfterMs: number | undefined;
  timeoutMs: number | undefined;
}

export interface CallerOptions {
  house: House;
  organisation: Organisation;
  number: number;
  protocol: Protocol;
  tally: Tally;
  more(): boolean;
}

/** Requests that several send, word for word; of each organisation its own. */
const repeated = new WeakMap<Organisation, Map<string, Values[]>>();

export class Caller {
  readonly #options: CallerOptions;
  readonly #http: HttpCaller;
  readonly #grpc: GrpcCaller;
  readonly #canary: Canary;
  readonly #mark: string;
  #count = 0;

  constructor(options: CallerOptions) {
    const { house, organisation, number } = options;
    this.#options = options;
    this.#http = new HttpCaller(house.baseUrl);
    this.#grpc = new GrpcCaller(house.grpcAddress);
    this.#mark = `canary-${organisation.name}-${number}-`;
    this.#canary = {
      number: () => Math.trunc(Math.random() * 2 ** 17),
      text: () => `${this.#mark}${Math.random().toString(36).slice(2)}é`,
    };
  }

  async run(): Promise<void> {
    const { more, protocol, tally } = this.#options;
    while (more() && !tally.hopeless) {
      try {
        if (protocol === 'stream') await this.#stream();
        else if (protocol === 'grpc') await this.#unary(this.#ask());
        else await this.#rest(this.#ask());
      } catch (error) {
        tally.violate(`${protocol} ${this.#mark}: ${error instanceof Error ? error.stack : error}`);
        this.close();
      }
    }
    this.close();
  }

  close(): void {
    this.#http.close();
    this.#grpc.close();
  }

  #ask(): Ask {
    const { organisation } = this.#options;
    this.#options.tally.sent++;
    this.#count++;
    const intent = pickIntent();
    const usable = pick(organisation.usable);
    const kind = kinds[usable.kind];
    const rows = 1 + Math.trunc(Math.random() * kind.rowsAtMost);
    const input = intent === 'again' ? this.#repeatedInput(usable) : kind.input(rows, this.#canary);
    const alias = usable.kind === 'line' && Math.random() < 0.6;
    const version = usable.kind === 'line' && !alias && Math.random() < 0.7 ? pick(['1', '2', '3']) : '';
    const names = kind.outputs(input, 1).map(({ name }) => name);
    return {
      intent,
      usable,
      model: intent === 'forbidden' ? pick(organisation.forbidden) : usable.model,
      version,
      alias,
      input: intent === 'bad' ? spoiled(input) : input,
      outputs: Math.random() < 0.2 ? [pick(names)] : undefined,
      priority: Math.random() < 0.2 ? 1 + Math.trunc(Math.random() * 3) : undefined,
      leaveAfterMs: intent === 'leave' ? Math.random() * 12 : undefined,
      timeoutMs: intent === 'deadline' ? 0.1 + Math.random() * 20 : undefined,
    };
  }

  #repeatedInput({ kind }: Usable): Values {
    const { organisation } = this.#options;
    let pool = repeated.get(organisation);
    if (!pool) {
      pool = new Map();
      repeated.set(organisation, pool);
    }
    let inputs = pool.get(kind);
    if (!inputs) {
      const canary = {
        number: this.#canary.number,
        text: () => `again-${organisation.name}-${Math.random()}`,
      };
      inputs = Array.from({ length: 8 }, () => kinds[kind].input(kinds[kind].rowsAtMost, canary));
      pool.set(kind, inputs);
    }
    return pick(inputs);
  }

  async #rest(ask: Ask): Promise<void> {
    const { protocol, organisation, tally } = this.#options;
    const { body, headers } = restBody(ask.input, {
      binary: protocol === 'binary',
      binaryOutput: protocol === 'binary' ? Math.random() < 0.8 : false,
      outputs: ask.outputs,
      parameters: {
        ...(ask.priority === undefined ? {} : { priority: ask.priority }),
        ...(ask.timeoutMs !== undefined && ask.timeoutMs > 10
          ? { timeout: Math.ceil(ask.timeoutMs * 1000) }
          : {}),
      },
    });
    const name = ask.model + (ask.alias ? '@best' : '');
    const version = ask.version && ask.intent !== 'forbidden' ? `/versions/${ask.version}` : '';
    const reply = await this.#http.send({
      path: `/v2/models/${encodeURIComponent(ask.intent === 'forbidden' ? ask.model : name)}${version}/infer`,
      headers: {
        ...headers,
        authorization: `Bearer ${pick(organisation.keys)}`,
        ...(ask.intent === 'no-store' ? { 'cache-control': 'no-store' } : {}),
        ...(ask.timeoutMs !== undefined && ask.timeoutMs <= 10
          ? { 'x-commonwatt-timeout-ms': ask.timeoutMs.toFixed(3) }
          : {}),
      },
      body,
      leaveAfterMs: ask.leaveAfterMs,
      pieces: Math.random() < 0.01 ? 2 + Math.trunc(Math.random() * 40) : 1,
    });
    if (!reply) {
      tally.left(protocol);
      return;
    }
    const requestId = reply.headers.get('x-commonwatt-request-id') ?? '';
    if (reply.status === 200) {
      const { version: answeredBy, outputs } = readAnswer(reply);
      this.#answered(ask, answeredBy, outputs, requestId, reply.headers.get('x-commonwatt-source'));
    } else this.#refused(ask, reply.status, restMessage(reply), requestId);
  }

  async #unary(ask: Ask): Promise<void> {
    const { organisation, tally } = this.#options;
    const reply = await this.#grpc.unary(this.#grpcRequest(ask), {
      apiKey: pick(organisation.keys),
      timeoutMs: ask.timeoutMs,
      leaveAfterMs: ask.leaveAfterMs,
      reuse: ask.intent !== 'no-store',
    });
    if (!reply) {
      tally.left('grpc');
      return;
    }
    const { response, code, message, requestId, source } = reply;
    if (response)
      this.#answered(ask, Number(response.modelVersion), grpcOutputs(response), requestId, source);
    else this.#refused(ask, statusOf(code, message), message, requestId);
  }

  /** Many requests at once, each judged by its id. */
  async #stream(): Promise<void> {
    const { organisation, tally } = this.#options;
    const asks = new Map<string, Ask>();
    const requests = Array.from({ length: 1 + Math.trunc(Math.random() * 40) }, (_, index) => {
      const ask = this.#ask();
      const id = `${this.#mark}${this.#count}-${index}`;
      asks.set(id, ask);
      return { ...this.#grpcRequest(ask), id };
    });
    const leaves = Math.random() < 0.05;
    const late = Math.random() < 0.03;
    const { code, message, replies } = await this.#grpc.stream(requests, {
      apiKey: pick(organisation.keys),
      leaveAfterMs: leaves ? Math.random() * 25 : undefined,
      timeoutMs: late ? 1 + Math.random() * 20 : undefined,
    });
    for (const [id, reply] of replies) {
      const ask = asks.get(id);
      if (!ask) throw new Error(`an answer to ${id}, which was not asked`);
      asks.delete(id);
      const { response } = reply;
      if (reply.message !== '') this.#refused(ask, statusOf(undefined, reply.message), reply.message, '');
      else if (response)
        this.#answered(
          ask,
          Number(response.modelVersion),
          grpcOutputs(response),
          requestIdOf(response),
          undefined,
        );
    }
    // Whatever is left was given up together, when the caller left or the time of the whole was over.
    if (asks.size > 0 && !(leaves && code === undefined) && !(late && code === 4))
      throw new Error(`${asks.size} of ${requests.length} were not answered; status ${code}: ${message}`);
    for (let index = 0; index < asks.size; index++) tally.left('stream');
  }

  #grpcRequest(ask: Ask) {
    const named = ask.intent !== 'forbidden';
    return grpcRequest(ask.model + (named && ask.alias ? '@best' : ''), named ? ask.version : '', ask.input, {
      id: '',
      raw: Math.random() < 0.7,
      outputs: ask.outputs,
      priority: ask.priority,
    });
  }

  #answered(ask: Ask, version: number, outputs: Values[], id: string, source: string | undefined): void {
    const { tally, protocol } = this.#options;
    if (ask.intent === 'bad' || ask.intent === 'forbidden') {
      tally.violate(`${protocol}: a request that is ${ask.intent} was answered by ${ask.model}`);
      return;
    }
    if (ask.version !== '' && Number(ask.version) !== version)
      tally.violate(`${protocol}: version ${ask.version} was asked, ${version} answered`);
    const { shape } = ask.input;
    const all = kinds[ask.usable.kind].outputs(ask.input, version) as Values[];
    const expected = all.filter(({ name }) => ask.outputs === undefined || ask.outputs.includes(name));
    const difference = differenceOf(expected, outputs);
    if (difference) tally.violate(`${protocol} ${ask.model} ${this.#mark} (${source}): ${difference}`);
    if (ask.intent === 'no-store' && source !== undefined && source !== 'computed' && protocol !== 'stream')
      tally.violate(`${protocol}: no-store was answered by what is ${source}`);
    tally.answered(protocol, id, { rows: shape[0] ?? 0, source });
  }

  #refused(ask: Ask, status: number, message: string, id: string): void {
    const { tally, protocol } = this.#options;
    tally.refused(protocol, status, id);
    const complaint = `${protocol} ${ask.intent} ${ask.model}: refused with ${status} ${message}`;
    if (!allowed(ask).has(status)) tally.violate(complaint);
    if (message === '' || /\n\s+at |undefined|\[object/.test(message))
      tally.violate(`badly worded: ${complaint}`);
    for (const [mark] of message.matchAll(/canary-\w+-\d+-/g))
      if (mark !== this.#mark) tally.violate(`a stranger's canary: ${complaint}`);
  }
}

/** Statuses with which such a request may be refused, while all that happens meanwhile happens. */
function allowed({ intent, usable }: Ask): Set<number> {
  const statuses = new Set([503]);
  if (usable.wavering) statuses.add(404);
  if (usable.limited) statuses.add(429);
  if (intent === 'bad') statuses.add(400);
  if (intent === 'forbidden') statuses.add(404);
  // Deployments may have a limit to waiting, as chaos has it.
  statuses.add(504);
  return statuses;
}

function statusOf(code: number | undefined, message: string): number {
  if (code === undefined) {
    // On a stream only the words say what it was.
    if (/does not exist|not deployed/.test(message)) return 404;
    if (/all are used/.test(message)) return 429;
    if (/waited longer|deadline/.test(message)) return 504;
    if (/wait for this model|was not loaded|runner|process that computes/.test(message)) return 503;
    return 400;
  }
  if (code === 8) return 429;
  return { 3: 400, 4: 504, 5: 404, 7: 403, 14: 503, 16: 401 }[code] ?? 500;
}

function restMessage({ headers, body }: HttpReply): string {
  if (!headers.get('content-type')?.includes('json')) return '';
  const { error } = JSON.parse(body.toString()) as { error?: unknown };
  return typeof error === 'string' ? error : '';
}

function requestIdOf({
  parameters,
}: {
  parameters: Record<string, { parameterChoice: { value?: unknown } }>;
}): string {
  return String(parameters.commonwatt_request_id?.parameterChoice.value ?? '');
}

/** Something is wrong with it that every door must see. */
function spoiled(input: Values): Values {
  const way = Math.trunc(Math.random() * 3);
  if (way === 0) return { ...input, name: 'nobody' };
  if (way === 1) return { ...input, values: input.values.slice(1) };
  return { ...input, shape: [(input.shape[0] ?? 0) + 7, ...input.shape.slice(1)] };
}

function differenceOf(expected: readonly Values[], got: readonly Values[]): string | undefined {
  if (got.length !== expected.length) return `${got.length} outputs instead of ${expected.length}`;
  for (const wanted of expected) {
    const output = got.find(({ name }) => name === wanted.name);
    if (!output) return `no output ${wanted.name}`;
    if (output.datatype !== wanted.datatype || output.shape.join() !== wanted.shape.join())
      return `${wanted.name} is ${output.datatype} [${output.shape}] instead of ${wanted.datatype} [${wanted.shape}]`;
    if (output.values.length !== wanted.values.length)
      return `${output.values.length} values in ${wanted.name}`;
    const at = wanted.values.findIndex((value, index) => output.values[index] !== value);
    if (at >= 0) return `${wanted.name}[${at}] is ${output.values[at]} instead of ${wanted.values[at]}`;
  }
  return undefined;
}

function pickIntent(): Intent {
  let at = Math.random() * 100;
  for (const [intent, share] of shares) {
    at -= share;
    if (at < 0) return intent;
  }
  return 'plain';
}

function pick<T>(from: readonly T[]): T {
  const picked = from[Math.trunc(Math.random() * from.length)];
  if (picked === undefined) throw new Error('nothing to choose from');
  return picked;
}
