/** What the server says of itself to its operator. */
import type { ServerFacts } from './api/platform/server.ts';
import type { SelfCheck } from './energy/live.ts';
import type { Deployments } from './serve/deployments.ts';
import { deploymentOf } from './serve/live.ts';

interface Parts {
  version: string;
  gateways: number;
  doorPids: readonly number[];
  deployments: Deployments;
  selfCheck: SelfCheck | null;
}

export function serverFacts({ version, gateways, doorPids, deployments, selfCheck }: Parts): ServerFacts {
  const { processes, restarts, threads, memoryLimitBytes } = deployments.runners();
  const states = { loading: 0, ready: 0, idle: 0, failed: 0, quarantined: 0 };
  for (const live of deployments.lives) if (!live.borrowed) states[deploymentOf(live).state] += 1;
  return {
    version,
    node: process.versions.node,
    pid: process.pid,
    startedAt: new Date(Date.now() - process.uptime() * 1000).toISOString(),
    leaving: deployments.leaving,
    gateways: { count: gateways, pids: [...doorPids] },
    runners: {
      processes: processes.map(({ pid, kind, residentBytes, computedS, copies }) => ({
        pid,
        kind,
        residentBytes,
        computedS,
        models: copies.map(({ name, memoryBytes }) => ({
          model: name,
          memoryBytes: Math.round(memoryBytes),
        })),
      })),
      restarts,
      threads,
      memoryLimitBytes: Math.round(memoryLimitBytes),
    },
    models: {
      heldBytes: Math.round(deployments.residency.heldBytes),
      budgetBytes: Math.round(deployments.residency.budgetBytes),
      deployments: states,
    },
    ledger: selfCheck,
  };
}
