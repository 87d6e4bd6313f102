/**
 * Commonwatt's own resources, `/api/v1/…` (docs/api.md). Each file of this folder is one resource: its schemas,
 * its routes, and nothing decided: who may is the gate's word, what happens is the rooms'.
 *
 * In: JSON and files. Out: JSON, problem details (RFC 9457). Promise: unknown fields are refused by name.
 */
import type { FastifyInstance } from 'fastify';
import { alternativeRoutes } from './alternatives.ts';
import { budgetRoutes } from './budgets.ts';
import { cardRoutes } from './cards.ts';
import { consolidationRoutes } from './consolidation.ts';
import { datasetRoutes } from './datasets.ts';
import { deploymentRoutes } from './deployments.ts';
import { evaluationRoutes } from './evaluations.ts';
import { eventRoutes } from './events.ts';
import { explainRoutes } from './explain.ts';
import { exportRoutes } from './exports.ts';
import { grantRoutes } from './grants.ts';
import { gridRoutes } from './grid.ts';
import type { House, PlatformApp } from './house.ts';
import { impactRoutes } from './impact.ts';
import { jobRoutes } from './jobs.ts';
import { keyRoutes } from './keys.ts';
import { ledgerRoutes } from './ledger.ts';
import { memberRoutes } from './members.ts';
import { modelRoutes } from './models.ts';
import { organisationRoutes } from './organisations.ts';
import { receiptKeyRoutes, receiptRoutes } from './receipts.ts';
import { regionRoutes } from './regions.ts';
import { serverRoutes } from './server.ts';
import { statementRoutes } from './statements.ts';
import { versionRoutes } from './versions.ts';

export type { House } from './house.ts';

/** A Fastify plugin: `await app.register(platformRoutes, house)`. */
export async function platformRoutes(app: FastifyInstance, house: House): Promise<void> {
  await app.register(
    async (scope) => {
      const routes: PlatformApp = scope.withTypeProvider();
      organisationRoutes(routes, house);
      memberRoutes(routes, house);
      keyRoutes(routes, house);
      modelRoutes(routes, house);
      versionRoutes(routes, house);
      deploymentRoutes(routes, house);
      grantRoutes(routes, house);
      budgetRoutes(routes, house);
      datasetRoutes(routes, house);
      jobRoutes(routes, house);
      evaluationRoutes(routes, house);
      explainRoutes(routes, house);
      impactRoutes(routes, house);
      ledgerRoutes(routes, house);
      cardRoutes(routes, house);
      alternativeRoutes(routes, house);
      statementRoutes(routes, house);
      exportRoutes(routes, house);
      gridRoutes(routes, house);
      receiptRoutes(routes, house);
      serverRoutes(routes, house);
      consolidationRoutes(routes, house);
      regionRoutes(routes, house);
      eventRoutes(routes, house);
    },
    { prefix: '/api/v1' },
  );
  receiptKeyRoutes(app.withTypeProvider(), house);
}
