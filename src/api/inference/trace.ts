/** What traces say of a model call, whichever door it came through. */
import { impactText } from '../../energy/footprint.ts';
import { infrastructureAttributes } from '../../energy/forms/figures.ts';
import type { Admission } from '../../gate/gate.ts';
import type { Inference, ServedVersion } from '../../serve/serve.ts';
import type { Span } from '../../telemetry/traces.ts';

export function traceCall(door: Span, requestId: string, { model, principal }: Admission): Span {
  return door.child('infer', {
    attributes: {
      'commonwatt.request_id': requestId,
      'commonwatt.model': `${model.organisation}/${model.name}`,
      'commonwatt.organisation': principal.organisation,
    },
  });
}

export function traceAnswer(span: Span, { version }: ServedVersion, inference: Inference): void {
  const { footprint, source, queueMs, batchMs, computeMs, batchRows } = inference;
  const { energyWh, carbonGCo2e } = impactText(footprint);
  span.set({
    'commonwatt.model.version': version,
    'commonwatt.source': source,
    'commonwatt.batch.rows': batchRows,
    'commonwatt.queue_ms': queueMs,
    'commonwatt.batch_ms': batchMs,
    'commonwatt.compute_ms': computeMs,
    'commonwatt.energy_wh': energyWh === null ? undefined : Number(energyWh),
    'commonwatt.carbon_gco2e': carbonGCo2e === null ? undefined : Number(carbonGCo2e),
    'commonwatt.energy_quality': footprint.quality,
    ...infrastructureAttributes(inference),
  });
  span.end();
}
