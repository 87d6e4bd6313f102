/** The footprint of an answer as `parameters` of gRPC: Wh and gCO2e, and other forms that are asked for as JSON. */
import type { Footprint } from '../../energy/energy.ts';
import { impactJson } from '../../energy/footprint.ts';
import { greenPtImpact, neuralwattEnergy, openGateImpacts } from '../../energy/forms/figures.ts';
import type { Answered, Forms } from '../../energy/forms/forms.ts';
import type { Inference } from '../../serve/serve.ts';
import type { InferParameter, ModelInferResponse } from './proto/open_inference_grpc_pb.ts';

type Parameters = ModelInferResponse['parameters'];

/** Callers with equal figures share a footprint. */
const known = new WeakMap<Footprint, Parameters>();

/** A figure nobody knows is absent, with the reason. */
export function footprintParameters(
  answered: Answered & Pick<Inference, 'variant' | 'budgetWarning'>,
  requestId: string,
  forms: Forms,
): Parameters {
  const parameters: Parameters = { commonwatt_request_id: text(requestId) };
  if (answered.budgetWarning) parameters.commonwatt_budget_warning = text(answered.budgetWarning);
  if (answered.variant) parameters.commonwatt_variant = text(answered.variant.name);
  if (forms.impact || forms.headers) Object.assign(parameters, knownFigures(answered.footprint));
  if (forms.impacts) parameters.impacts = text(JSON.stringify(openGateImpacts(answered)));
  if (forms.energy) parameters.energy = text(JSON.stringify(neuralwattEnergy(answered)));
  if (forms.greenpt) parameters.impact = text(JSON.stringify(greenPtImpact(answered)));
  return parameters;
}

function knownFigures(footprint: Footprint): Parameters {
  let figures = known.get(footprint);
  if (!figures) {
    figures = figuresOf(footprint);
    known.set(footprint, figures);
  }
  return figures;
}

function figuresOf(footprint: Footprint): Parameters {
  const { energyWh, carbonGCo2e, quality, unknown } = impactJson(footprint);
  return {
    commonwatt_quality: text(quality),
    ...(energyWh === null
      ? { commonwatt_energy_unknown: text(unknown.energyWh ?? 'not known') }
      : { commonwatt_energy_wh: figure(energyWh) }),
    ...(carbonGCo2e === null ? {} : { commonwatt_carbon_gco2e: figure(carbonGCo2e) }),
  };
}

export function text(value: string): InferParameter {
  return { $typeName: 'inference.InferParameter', parameterChoice: { case: 'stringParam', value } };
}

function figure(value: number): InferParameter {
  return { $typeName: 'inference.InferParameter', parameterChoice: { case: 'doubleParam', value } };
}
