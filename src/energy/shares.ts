/** Whose CPU time and accelerators' joules an interval has: of lines, the gateway, runners apart from lines. Pure. */
import { useKey } from './allocation.ts';
import type { IntervalFacts, OtherWork, WorkLine } from './attribution.ts';

/**
 * CPU seconds of each id of each line, and of whatever is not a line. A runner's CPU time is split by the time that it
 * computed for each, and loaded models, or was at what it had not finished yet (its own overhead); what the gateway used beyond housekeeping and other work, evenly among the requests.
 */
export function splitCpu(facts: IntervalFacts, acceleratorJ: number) {
  const { runners, lines, jobs, helpers = [] } = facts;
  const weightOf = new Map<number, number>();
  let requests = 0;
  for (const { runnerPid, computeNs, ids } of lines) {
    weightOf.set(runnerPid, (weightOf.get(runnerPid) ?? 0) + ids.length * computeNs);
    requests += ids.length;
  }
  const perNs = new Map<number, number>();
  let runnersS = 0;
  let computingS = 0;
  for (const { pid, cpuS, unbookedNs = 0 } of runners) {
    const weight = weightOf.get(pid) ?? 0;
    if (weight > 0) {
      const linesS = cpuS * (weight / (weight + unbookedNs));
      perNs.set(pid, linesS / weight);
      computingS += linesS;
      runnersS += cpuS - linesS;
    } else runnersS += cpuS;
  }
  const gateway = splitGateway(facts, requests);
  const gatewayOfEach = requests > 0 ? gateway.causedS / requests : 0;
  const ofLines = new Float64Array(lines.length);
  let total = runnersS + gateway.housekeepingS + gateway.otherWorkS;
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index];
    const cpuS = line ? line.computeNs * (perNs.get(line.runnerPid) ?? 0) + gatewayOfEach : 0;
    ofLines[index] = cpuS;
    total += cpuS * (line?.ids.length ?? 0);
  }
  for (const { cpuS } of jobs) total += cpuS;
  for (const { cpuS } of helpers) total += cpuS;
  return {
    lines: ofLines,
    gatewayS: gateway.housekeepingS,
    otherWorkS: gateway.otherWorkS,
    gatewayOfEach,
    runnersS,
    computingS,
    total,
    ...splitAccelerator(facts, acceleratorJ),
  };
}

/**
 * While there is other work, a request carries at most what one costs without; the rest of that time is the other
 * work's. Example: .5 CPU·s during an import, 4 requests meanwhile of 1 ms each as learnt: .496 CPU·s are the import's.
 */
function splitGateway({ gatewayCpuS, housekeepingS, otherWork }: IntervalFacts, requests: number) {
  const beyondS = requests > 0 ? Math.max(0, gatewayCpuS - housekeepingS) : 0;
  const available = requests > 0 ? beyondS : gatewayCpuS;
  const otherWorkS = otherWork ? Math.min(available, otherThanRequests(otherWork)) : 0;
  const causedS = requests > 0 ? beyondS - otherWorkS : 0;
  return { causedS, otherWorkS, housekeepingS: Math.max(0, gatewayCpuS - causedS - otherWorkS) };
}

function otherThanRequests({ cpuS, requests, cpuSPerRequest }: OtherWork): number {
  return Math.max(0, cpuS - requests * cpuSPerRequest);
}

/** Among the lines of the versions that may use accelerators, by computing time; without any, nobody's. */
function splitAccelerator({ accelerator, lines }: IntervalFacts, dynamicJ: number) {
  const users = new Set(accelerator?.users);
  const mayUse = ({ head: { use } }: WorkLine) => users.size > 0 && use !== null && users.has(useKey(use));
  let weight = 0;
  for (const line of lines) if (mayUse(line)) weight += line.ids.length * line.computeNs;
  const perNs = weight > 0 ? dynamicJ / weight : 0;
  return {
    acceleratorJPerNs: (line: WorkLine) => (mayUse(line) ? perNs : 0),
    acceleratorRestJ: weight > 0 ? 0 : dynamicJ,
    acceleratorJPerS: weight > 0 ? perNs * 1e9 : null,
    acceleratorUseS: weight / 1e9,
  };
}
