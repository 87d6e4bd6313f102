/** What the routes need of the rooms below, and no more; the composition of the server provides it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Datasets } from '../../datasets/datasets.ts';
import type { Energy } from '../../energy/create.ts';
import type { Exports } from '../../energy/exports/exports.ts';
import type { Receipts } from '../../energy/receipts/receipts.ts';
import type { Explainer } from '../../explain/explain.ts';
import type { Budgets } from '../../gate/budgets/budgets.ts';
import type { PlatformGate } from '../../gate/gate.ts';
import type { Identity } from '../../gate/identity.ts';
import type { Jobs } from '../../jobs/jobs.ts';
import type { Grants } from '../../models/grants.ts';
import type { Registry } from '../../models/registry.ts';
import type { Evaluations } from '../../quality/quality.ts';
import type { AliasMoves } from '../../serve/alias-moves.ts';
import type { Consolidation } from '../../serve/consolidation.ts';
import type { Deployments } from '../../serve/deployments.ts';
import type { Regions } from '../../serve/regions.ts';
import type { ServerFacts } from './server.ts';

export interface House {
  gate: PlatformGate;
  identity: Pick<
    Identity,
    | 'listOrganisations'
    | 'createOrganisation'
    | 'listMembers'
    | 'createMember'
    | 'listKeys'
    | 'createKey'
    | 'revokeKey'
  >;
  budgets: Pick<Budgets, 'list' | 'get' | 'set' | 'change' | 'remove' | 'limitOf'>;
  grants: Pick<Grants, 'create' | 'list' | 'listFor' | 'revoke'>;
  registry: Pick<
    Registry,
    | 'importVersion'
    | 'listModels'
    | 'listGrantedModels'
    | 'getVersion'
    | 'listVersions'
    | 'resolve'
    | 'setAlias'
    | 'aliases'
    | 'artifactBytes'
  >;
  datasets: Pick<Datasets, 'create' | 'get' | 'list' | 'rowOf'>;
  jobs: Pick<Jobs, 'enqueue' | 'get' | 'list' | 'cancel'>;
  deployments: Pick<
    Deployments,
    'create' | 'change' | 'list' | 'get' | 'remove' | 'served' | 'servedVersions' | 'routesChanged' | 'borrow'
  >;
  consolidation: Pick<Consolidation, 'propose' | 'perform' | 'undo'>;
  regions: Pick<Regions, 'now' | 'forecast'>;
  aliases: Pick<AliasMoves, 'move'>;
  evaluations: Pick<Evaluations, 'evaluate' | 'list' | 'passedGate'>;
  explainer: Pick<Explainer, 'explain' | 'sourcesOf'>;
  energy: Pick<Energy, 'report' | 'live' | 'grid' | 'books' | 'comparison' | 'settling'>;
  exports: Pick<Exports, 'sci' | 'manifest' | 'card' | 'statement'>;
  receipts: Pick<Receipts, 'ofEntry' | 'publicKeys' | 'rotate'>;
  /** Reads an artifact, decrypted and verified. */
  artifacts: { read(organisationId: string, sha256: string): Promise<Uint8Array> };
  /** For the operator. */
  server: { facts(): ServerFacts; restartRunners(): Promise<void> };
  limits: {
    /** Largest model artifact or data set, bytes. */
    maxArtifactBytes: number;
  };
}

/** The HTTP instance as the routes see it: schemas in zod give the types. */
export type PlatformApp = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;
