/** A ledger that holds what a test says, and books what it is told. */
import type { UsageSource } from '../../energy/energy.ts';
import type { UsageListener } from '../../energy/usage-counts.ts';
import type { ReadOptions } from '../../energy/usage-reading.ts';

export interface TestUsage extends UsageSource {
  listener: UsageListener | undefined;
}

/** `requests`: those of a subject that are settled. */
export function usageOf(requests: (subject: ReadOptions['subject']) => number = () => 0): TestUsage {
  return {
    listener: undefined,
    listen(listener) {
      this.listener = listener;
    },
    read: ({ subject }) => ({
      unsettled: [],
      settled: (async () => [
        { modelId: null, ownerId: null, requests: requests(subject), rows: 0, energyJ: 0, carbonG: 0 },
      ])(),
    }),
  };
}
