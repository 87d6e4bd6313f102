/** The footprint of an answer in gRPC: Wh and gCO2e as `parameters` and as metadata. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Footprint } from '../../energy/energy.ts';
import { impactJson } from '../../energy/footprint.ts';
import type { InferParameterSchema } from './proto/open_inference_grpc_pb.ts';

type Parameter = MessageInitShape<typeof InferParameterSchema>;

/** The parameters of an answer; its figures go into the metadata too. A figure nobody knows is absent, with the reason. */
export function footprintParameters(
  footprint: Footprint,
  requestId: string,
  header: Headers,
): Record<string, Parameter> {
  const { energyWh, carbonGCo2e, quality, unknown } = impactJson(footprint);
  const figures = { energy_wh: energyWh, carbon_gco2e: carbonGCo2e };
  const parameters: Record<string, Parameter> = {
    commonwatt_request_id: text(requestId),
    commonwatt_quality: text(quality),
  };
  for (const [name, value] of Object.entries(figures)) {
    if (value === null) continue;
    parameters[`commonwatt_${name}`] = figure(value);
    header.set(`x-commonwatt-${name.replace('_', '-')}`, String(value));
  }
  if (energyWh === null) parameters.commonwatt_energy_unknown = text(unknown.energyWh ?? 'not known');
  return parameters;
}

function text(value: string): Parameter {
  return { parameterChoice: { case: 'stringParam', value } };
}

function figure(value: number): Parameter {
  return { parameterChoice: { case: 'doubleParam', value } };
}
