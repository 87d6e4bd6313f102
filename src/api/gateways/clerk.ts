/**
 * Serves one door process inside the server: whatever must be one (gate, limits, cache, batches, ledger) is asked here,
 * again for each request, so that a door never decides and what it remembers is never trusted.
 */
import type { Duplex } from 'node:stream';
import { CommonwattError } from '../../errors.ts';
import type { Admission, Principal } from '../../gate/gate.ts';
import type { InferCall } from '../../serve/serve.ts';
import { traces } from '../../telemetry/traces.ts';
import { answer, type InferenceHouse } from '../inference/answer.ts';
import type { InferRequest } from '../inference/tensors.ts';
import type { ErrorLog } from '../problem.ts';
import { type Fields, kinds, Outbox, readFrames } from './frames.ts';
import { type Asked, answerWriter, refusalText, type Shown, takeInputs } from './messages.ts';

type ClerkHouse = Pick<InferenceHouse, 'gate' | 'deployments'>;

interface Visit extends Asked {
  shown: Shown;
}

/** An order to compute, as the door wrote it. */
interface Order {
  call: number;
  /** Of the visit. */
  number: number;
  requestId: string;
  /** Of the door's own stretch of the request's way; empty: it is not traced. */
  traceparent: string;
  reuse: boolean;
  visit: Visit;
  request: InferRequest;
  made?: InferCall;
  /** The caller has left, perhaps before the call was made. */
  left?: boolean;
}

/** What the door has read its request by is not what would compute it now. */
class Stale extends CommonwattError {
  constructor() {
    super('VERSION_NOT_FOUND', 'the version that the door reads by does not answer any more: it asks anew');
  }
}

/** `onBroken`: the door talks nonsense, and should be ended. */
export function serveDoor(
  socket: Duplex,
  house: ClerkHouse,
  log: ErrorLog,
  onBroken: (error: unknown) => void,
): void {
  const outbox = new Outbox(socket);
  const writeAnswer = answerWriter(outbox);
  const visits = new Map<number, Visit>();
  const orders = new Map<number, Order>();

  async function open(number: number, asked: Asked): Promise<void> {
    try {
      const { organisation, name } = asked.ref;
      const principal = await house.gate.authenticate(asked.apiKey);
      const { model } = await house.gate.authorize(principal, 'infer', organisation, name);
      const { version, versionId, signature, settings } = house.deployments.served(model.id, asked.ref);
      if (settings.greener.length > 0) throw new Stale();
      const shown = { version, versionId, signature };
      visits.set(number, { ...asked, shown });
      outbox.begin(kinds.opened).u32(number).text(JSON.stringify(shown)).end();
    } catch {
      // The ordinary door says why.
      outbox.begin(kinds.refused).u32(number).end();
    }
  }

  function infer(fields: Fields): void {
    const call = fields.u32();
    const number = fields.u32();
    const visit = visits.get(number);
    if (!visit) {
      outbox.begin(kinds.stale).u32(call).end();
      return;
    }
    const order = readOrder(call, number, visit, fields);
    orders.set(call, order);
    try {
      const principal = house.gate.authenticate(visit.apiKey);
      const done =
        principal instanceof Promise
          ? principal.then((known) => admit(order, known))
          : admit(order, principal);
      done.catch((error: unknown) => refuse(order, error));
    } catch (error) {
      refuse(order, error);
    }
  }

  function admit(order: Order, principal: Principal): Promise<void> {
    const { organisation, name } = order.visit.ref;
    const admission = house.gate.admit(principal, 'infer', organisation, name);
    return admission instanceof Promise
      ? admission.then((taken) => compute(order, taken))
      : compute(order, admission);
  }

  function compute(order: Order, admission: Admission): Promise<void> {
    const { visit, request, requestId, traceparent, reuse, call } = order;
    return answer(house, visit.ref, admission, {
      requestId,
      trace: traceparent === '' ? undefined : traces.active?.continued(traceparent),
      reuse,
      read: () => {
        const { versionId, settings } = house.deployments.served(admission.model.id, visit.ref);
        // Which version answers is known to the ordinary door alone, where variants may.
        if (versionId !== visit.shown.versionId || settings.greener.length > 0) throw new Stale();
        return request;
      },
      watch: (made) => {
        order.made = made;
        if (order.left) made.cancel();
      },
      write: (inference) => {
        orders.delete(call);
        writeAnswer(call, inference);
      },
    });
  }

  function refuse({ call, number, requestId }: Order, thrown: unknown): void {
    orders.delete(call);
    // The door asks anew under another number.
    if (isOver(thrown)) visits.delete(number);
    if (thrown instanceof Stale) {
      outbox.begin(kinds.stale).u32(call).end();
      return;
    }
    if (!(thrown instanceof CommonwattError)) log.error({ err: thrown, requestId }, 'request failed');
    outbox
      .begin(kinds.failed)
      .u32(call)
      .text(refusalText(shownError(thrown)))
      .end();
  }

  readFrames(
    socket,
    (kind, fields) => {
      if (kind === kinds.infer) infer(fields);
      else if (kind === kinds.cancel) leave(orders.get(fields.u32()));
      else if (kind === kinds.open) void open(fields.u32(), JSON.parse(fields.text()) as Asked);
      else if (kind === kinds.forget) visits.clear();
      else throw new RangeError(`a door said ${kind}`);
    },
    onBroken,
  );
  socket.once('close', () => {
    for (const order of orders.values()) leave(order);
  });
}

function readOrder(call: number, number: number, visit: Visit, fields: Fields): Order {
  const requestId = fields.text();
  const traceparent = fields.text();
  const reuse = fields.u8() === 1;
  const [priority, timeoutMs] = [fields.f64(), fields.f64()];
  const inputs = takeInputs(fields, visit.shown.signature.inputs);
  const request = {
    id: undefined,
    inputs,
    outputs: undefined,
    priority: Number.isNaN(priority) ? undefined : priority,
    timeoutMs: Number.isNaN(timeoutMs) ? undefined : timeoutMs,
  };
  return { call, number, requestId, traceparent, reuse, visit, request };
}

function leave(order: Order | undefined): void {
  if (!order) return;
  order.left = true;
  order.made?.cancel();
}

/** The visit by which it was asked is of no use any more: the model is another, or may no longer be used. */
function isOver(thrown: unknown): boolean {
  return (
    thrown instanceof Stale ||
    (thrown instanceof CommonwattError && (thrown.status === 401 || thrown.status === 404))
  );
}

/** Nothing of an unexpected error reaches a caller. */
function shownError(thrown: unknown): CommonwattError {
  return thrown instanceof CommonwattError
    ? thrown
    : new CommonwattError('INTERNAL', 'something went wrong inside the server', {
        hint: 'the log of the server has the cause under this request id',
      });
}
