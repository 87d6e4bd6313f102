/** The footprint of an answer as `parameters` of gRPC: Wh and gCO2e. */
import type { Footprint } from '../../energy/energy.ts';
import { impactJson } from '../../energy/footprint.ts';
import type { InferParameter, ModelInferResponse } from './proto/open_inference_grpc_pb.ts';

type Parameters = ModelInferResponse['parameters'];

/** Callers with equal figures share a footprint. */
const known = new WeakMap<Footprint, Parameters>();

/** A figure nobody knows is absent, with the reason. */
export function footprintParameters(footprint: Footprint, requestId: string): Parameters {
  let figures = known.get(footprint);
  if (!figures) {
    figures = figuresOf(footprint);
    known.set(footprint, figures);
  }
  return { ...figures, commonwatt_request_id: text(requestId) };
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

function text(value: string): InferParameter {
  return { $typeName: 'inference.InferParameter', parameterChoice: { case: 'stringParam', value } };
}

function figure(value: number): InferParameter {
  return { $typeName: 'inference.InferParameter', parameterChoice: { case: 'doubleParam', value } };
}
