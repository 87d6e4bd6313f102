/**
 * Answers quick requests in a door process: reads them by what the server has shown of the model, has the server decide
 * and compute, and writes the answers. What it cannot read is passed on whole: the server finds the words for it.
 */
import type { Duplex } from 'node:stream';
import type { Forms } from '../../energy/forms/forms.ts';
import type { CommonwattError } from '../../errors.ts';
import type { Inference } from '../../serve/serve.ts';
import { readHeaderLength } from '../inference/binary.ts';
import type { Desk, InferRoute } from '../inference/fast.ts';
import type { Exchange, Visit } from '../inference/fast-exchange.ts';
import { parseInferRequest, type RestRequest } from '../inference/parse.ts';
import { renderAnswer } from '../inference/render.ts';
import { traceOf } from '../traced.ts';
import { type Fields, kinds, Outbox, readFrames } from './frames.ts';
import { answerReader, putInputs, refusalOf, type Shown } from './messages.ts';
import type { PassOn } from './pass-on.ts';

/** Each is a key and a model; when there are more, all are asked for anew. */
const maxVisits = 10_000;

/** What is longer is no key, and is not kept. */
const longestKey = 128;

interface Known extends Visit {
  readonly shown: Shown;
}

interface Waiting {
  exchange: Exchange;
  body: Buffer;
  request: RestRequest;
  model: string;
  shown: Shown;
  key: string;
}

interface DoorDeskOptions {
  passOn: PassOn;
  forms: Forms;
  onBroken(error: unknown): void;
}

export function doorDesk(socket: Duplex, { passOn, forms, onBroken }: DoorDeskOptions): Desk {
  const outbox = new Outbox(socket);
  const readAnswer = answerReader();
  const visits = new Map<string, Known | 'asked'>();
  const asked = new Map<number, { key: string; route: InferRoute }>();
  const waiting = new Map<number, Waiting>();
  let lastVisit = 0;
  let lastCall = 0;

  function ask(key: string, apiKey: string, route: InferRoute): void {
    if (visits.size >= maxVisits) {
      visits.clear();
      outbox.begin(kinds.forget).end();
    }
    visits.set(key, 'asked');
    lastVisit = (lastVisit + 1) >>> 0;
    asked.set(lastVisit, { key, route });
    outbox
      .begin(kinds.open)
      .u32(lastVisit)
      .text(JSON.stringify({ apiKey, ref: route.ref }))
      .end();
  }

  function opened(number: number, shown: Shown): void {
    const question = asked.get(number);
    asked.delete(number);
    if (!question) return;
    const { key, route } = question;
    // What was asked before all was forgotten is asked anew.
    if (visits.get(key) !== 'asked') return;
    visits.set(key, {
      shown,
      answer: (exchange, body) => infer(number, { exchange, body, shown, key, model: route.model }),
    });
  }

  function infer(visit: number, given: Omit<Waiting, 'request'>): void {
    const { exchange, body, shown } = given;
    let request: RestRequest;
    try {
      request = parseInferRequest(body, shown.signature, readHeaderLength(exchange.headerLength));
    } catch {
      passOn(exchange.request, exchange.response, body);
      return;
    }
    lastCall = (lastCall + 1) >>> 0;
    const call = lastCall;
    waiting.set(call, { ...given, request });
    outbox
      .begin(kinds.infer)
      .u32(call)
      .u32(visit)
      .text(exchange.requestId)
      .text(traceOf(exchange.request)?.traceparent ?? '')
      .u8(exchange.reuse ? 1 : 0);
    outbox.f64(request.priority ?? Number.NaN).f64(request.timeoutMs ?? Number.NaN);
    putInputs(outbox, request.inputs);
    outbox.end();
    exchange.watch({
      cancel: () => {
        if (waiting.delete(call)) outbox.begin(kinds.cancel).u32(call).end();
      },
    });
  }

  /** Undefined: its caller has left. */
  function take(call: number): Waiting | undefined {
    const found = waiting.get(call);
    waiting.delete(call);
    return found;
  }

  function failed(found: Waiting | undefined, error: CommonwattError): void {
    if (!found) return;
    // Whoever may no longer is asked about anew.
    if (error.status === 401 || error.status === 404) visits.delete(found.key);
    found.exchange.fail(error);
  }

  function stale(found: Waiting | undefined): void {
    if (!found) return;
    visits.delete(found.key);
    passOn(found.exchange.request, found.exchange.response, found.body);
  }

  readFrames(
    socket,
    (kind, fields: Fields) => {
      const number = fields.u32();
      if (kind === kinds.answer) {
        // Read in any case: a footprint that is said once is said to all.
        const inference = readAnswer(fields);
        const found = take(number);
        if (found) write(found, inference, forms);
      } else if (kind === kinds.failed) failed(take(number), refusalOf(fields.text()));
      else if (kind === kinds.stale) stale(take(number));
      else if (kind === kinds.opened) opened(number, JSON.parse(fields.text()) as Shown);
      else if (kind === kinds.refused) {
        const question = asked.get(number);
        asked.delete(number);
        if (question) visits.delete(question.key);
      } else throw new RangeError(`the server said ${kind}`);
    },
    onBroken,
  );

  return {
    visit(apiKey, route) {
      if (apiKey.length > longestKey) return undefined;
      const key = `${apiKey.length}:${apiKey}${route.url}`;
      const known = visits.get(key);
      if (known === undefined) ask(key, apiKey, route);
      return known === 'asked' ? undefined : known;
    },
  };
}

function write({ exchange, request, model, shown }: Waiting, inference: Inference, forms: Forms): void {
  const { id, outputs, binaryOutputs } = request;
  try {
    exchange.succeed(
      renderAnswer(
        { modelName: model, version: shown.version, forms, id, wanted: outputs, binaryOutputs },
        inference,
      ),
    );
  } catch (error) {
    exchange.fail(error);
  }
}
