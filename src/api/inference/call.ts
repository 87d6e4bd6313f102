/**
 * A model call over HTTP, whatever the form of its body: expand → admit → answer → compress → one write. The forms
 * (infer, generate, generate_stream) differ in how they read and write.
 */
import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Forms, formsHeader, readForms } from '../../energy/forms/forms.ts';
import { receiptHeader, wantsReceipt } from '../../energy/receipts/claims.ts';
import { CommonwattError } from '../../errors.ts';
import type { Admission } from '../../gate/gate.ts';
import type { ModelRef, ModelSignature } from '../../models/models.ts';
import type { Inference } from '../../serve/serve.ts';
import { principalOf } from '../guard.ts';
import { traceOf } from '../traced.ts';
import { answer, type InferenceHouse, signReceipt } from './answer.ts';
import { compress, decompress, encodingFor } from './compression.ts';
import { allowsVariants, variantHeader } from './parameters.ts';
import { type ModelParams, nameOf, refOf } from './paths.ts';
import type { RenderedAnswer } from './render.ts';
import type { InferRequest } from './tensors.ts';

export type CallRequest = FastifyRequest<{ Params: ModelParams; Body: Buffer | undefined }>;

/** How a form of call is read and written. */
export interface Form<Request extends InferRequest> {
  read(body: Buffer, signature: ModelSignature, headers: CallRequest['headers']): Request;
  write(of: AnswerOf, request: Request, inference: Inference): RenderedAnswer;
}

/** What an answer says of itself besides its outputs. */
export interface AnswerOf {
  modelName: string;
  version: number;
  forms: Forms;
}

/** What a request says around its body. */
interface Wishes {
  deadlineAtMs: number | undefined;
  forms: Forms;
  receipt: boolean;
  variants: boolean;
}

type CallHouse = Pick<InferenceHouse, 'gate' | 'deployments' | 'maxBodyBytes' | 'forms' | 'receipts'>;

/** A route's handler. It returns no promise to the framework: this is the hot path. */
export function callHandler<Request extends InferRequest>(house: CallHouse, form: Form<Request>) {
  return (request: CallRequest, reply: FastifyReply): void => {
    const ref = refOf(request.params);
    const body = decompress(request.body ?? noBody, request.headers['content-encoding'], house.maxBodyBytes);
    const answered =
      body instanceof Promise
        ? body.then((plain) => admitted(house, form, request, reply, ref, plain))
        : admitted(house, form, request, reply, ref, body);
    answered.catch((error: unknown) => reply.send(error));
  };
}

const noBody = Buffer.alloc(0);

function admitted<Request extends InferRequest>(
  house: CallHouse,
  form: Form<Request>,
  request: CallRequest,
  reply: FastifyReply,
  ref: ModelRef,
  body: Buffer,
): Promise<void> {
  // Before a place is taken: a refusal here must leave none behind.
  const wishes = wishesOf(house, request.headers);
  const admission = house.gate.admit(principalOf(request), 'infer', ref.organisation, ref.name);
  return admission instanceof Promise
    ? admission.then((taken) => compute(house, form, request, reply, ref, body, taken, wishes))
    : compute(house, form, request, reply, ref, body, admission, wishes);
}

async function compute<Request extends InferRequest>(
  house: CallHouse,
  form: Form<Request>,
  request: CallRequest,
  reply: FastifyReply,
  ref: ModelRef,
  body: Buffer,
  admission: Admission,
  { deadlineAtMs, forms, receipt, variants }: Wishes,
): Promise<void> {
  const { headers } = request;
  let signed: Promise<string> | undefined;
  const rendered = await answer(house, ref, admission, {
    requestId: request.id,
    trace: traceOf(request.raw),
    reuse: !noStore(headers['cache-control']),
    variants,
    read: (signature) => form.read(body, signature, headers),
    deadlineAtMs,
    watch: (call) => {
      if (reply.raw.destroyed) call.cancel();
      else reply.raw.once('close', () => call.cancel());
    },
    write: (inference, served, read, admitted) => {
      const { version } = served;
      const written = form.write({ modelName: nameOf(request.params), version, forms }, read, inference);
      if (receipt) signed = signReceipt(house, request.id, admitted, served, inference);
      return written;
    },
  });
  if (signed) rendered.headers.push(receiptHeader, await signed);
  const encoding = encodingFor(headers['accept-encoding'], rendered.body.length);
  if (!encoding) {
    send(reply, rendered);
    return;
  }
  const packed = await compress(rendered.body, encoding);
  send(reply, {
    headers: [...rendered.headers, 'content-encoding', encoding, 'vary', 'accept-encoding'],
    body: packed,
  });
}

/** Throws INVALID_REQUEST. */
function wishesOf({ forms, receipts }: CallHouse, headers: CallRequest['headers']): Wishes {
  return {
    deadlineAtMs: deadlineOf(headers[timeoutHeader]),
    forms: readForms(headers[formsHeader], forms),
    receipt: wantsReceipt(headers[receiptHeader], receipts.always),
    variants: allowsVariants(headers[variantHeader], `header.${variantHeader}`),
  };
}

export function noStore(cacheControl: string | undefined): boolean {
  return cacheControl !== undefined && /(?:^|,)\s*no-store\s*(?:,|$)/i.test(cacheControl);
}

const timeoutHeader = 'x-commonwatt-timeout-ms';

/** When the caller stops waiting; undefined: it does not say. */
function deadlineOf(header: string | string[] | undefined): number | undefined {
  if (header === undefined) return undefined;
  const timeoutMs = typeof header === 'string' && /^\d{1,9}(?:\.\d{1,9})?$/.test(header) ? Number(header) : 0;
  if (timeoutMs > 0) return performance.now() + timeoutMs;
  throw new CommonwattError('INVALID_REQUEST', `${timeoutHeader} is not a number of milliseconds above 0`, {
    where: `header.${timeoutHeader}`,
  });
}

/** Straight to the socket, in one write: the framework's own way costs more than the rest of the answer. */
function send(reply: FastifyReply, { headers: own, body }: RenderedAnswer): void {
  reply.hijack();
  const headers: OutgoingHttpHeaders = {};
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) headers[name] = value;
  for (let at = 0; at < own.length; at += 2) headers[own[at] ?? ''] = own[at + 1];
  headers['content-length'] = Buffer.byteLength(body);
  reply.raw.writeHead(200, headers).end(body);
}
