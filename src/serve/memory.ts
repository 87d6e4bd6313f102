/** How much memory models may hold when the configuration does not say. */
import { totalmem } from 'node:os';

/** What this process may use at most: the host's memory, or the limit of its container (cgroup) if that is less. */
function usableMemoryBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/** The rest is for the server, the runtimes themselves, batches on their way, and whatever else the host does. */
const shareOfModels = 0.5;

export function memoryBudget(configured: number | 'auto'): number {
  return configured === 'auto' ? Math.floor(usableMemoryBytes() * shareOfModels) : configured;
}
