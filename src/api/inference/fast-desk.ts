/** Answers quick requests inside the server itself: with the gate and the serve room at hand. */
import type { Admission, Principal } from '../../gate/gate.ts';
import { traceOf } from '../traced.ts';
import { answer, type InferenceHouse } from './answer.ts';
import { readHeaderLength } from './binary.ts';
import type { Desk, InferRoute } from './fast.ts';
import type { Exchange } from './fast-exchange.ts';
import { parseInferRequest } from './parse.ts';
import { renderAnswer } from './render.ts';

type DeskHouse = Pick<InferenceHouse, 'gate' | 'deployments' | 'forms'>;

export function houseDesk(house: DeskHouse): Desk {
  return {
    visit(apiKey, route) {
      const principal = remembered(house, apiKey);
      return principal && { answer: (exchange, body) => infer(house, principal, route, exchange, body) };
    },
  };
}

/** A refused key is the ordinary door's to refuse. */
function remembered({ gate }: Pick<InferenceHouse, 'gate'>, apiKey: string): Principal | undefined {
  try {
    const principal = gate.authenticate(apiKey);
    if (!(principal instanceof Promise)) return principal;
    principal.catch(() => {});
  } catch {
    // The same again, with the answer that belongs to it.
  }
  return undefined;
}

function infer(
  house: DeskHouse,
  principal: Principal,
  route: InferRoute,
  exchange: Exchange,
  body: Buffer,
): void {
  try {
    const admission = house.gate.admit(principal, 'infer', route.ref.organisation, route.ref.name);
    const answered =
      admission instanceof Promise
        ? admission.then((admitted) => compute(house, admitted, route, exchange, body))
        : compute(house, admission, route, exchange, body);
    answered.catch((error: unknown) => exchange.fail(error));
  } catch (error) {
    exchange.fail(error);
  }
}

function compute(
  house: DeskHouse,
  admission: Admission,
  { ref, model }: InferRoute,
  exchange: Exchange,
  body: Buffer,
): Promise<void> {
  return answer(house, ref, admission, {
    requestId: exchange.requestId,
    trace: traceOf(exchange.request),
    reuse: exchange.reuse,
    read: (signature) => parseInferRequest(body, signature, readHeaderLength(exchange.headerLength)),
    watch: (call) => exchange.watch(call),
    write: (inference, { version }, { id, outputs, binaryOutputs }) =>
      exchange.succeed(
        renderAnswer(
          { modelName: model, version, forms: house.forms, id, wanted: outputs, binaryOutputs },
          inference,
        ),
      ),
  });
}
