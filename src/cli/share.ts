/** `commonwatt share`: grants on a model: give, list, take back. */
import type { Grant, Limit, Permission } from '@commonwatt/client';
import { type Command, InvalidArgumentError } from 'commander';
import { connect, type ServerOptions } from './connection.ts';
import { WrongUse } from './failure.ts';
import { type Reference, reference } from './references.ts';
import { answer, type Terminal, table } from './terminal.ts';

interface Options extends ServerOptions {
  with?: string;
  limit?: Limit;
  permissions?: Permission[];
  expires?: string;
  list?: boolean;
  revoke?: string;
}

export function define(command: Command, terminal: Terminal): void {
  command
    .argument('<model>', 'organisation/model', reference)
    .option('--with <organisation>', 'who may use it')
    .option('--limit <n/period>', 'at most so many requests an hour, day or month, e.g. 1000/day', parseLimit)
    .option('--permissions <list>', 'infer, explain, download (default: infer,explain)', parsePermissions)
    .option('--expires <time>', 'ISO 8601 time or date after which it ends', parseTime)
    .option('--list', 'list who may use it')
    .option('--revoke <id>', 'take a grant back')
    .addHelpText('after', '\nExample:\n  $ commonwatt share acme/digits --with globex --limit 1000/day')
    .action(async ({ model }: Reference, options: Options) => {
      const client = connect(options, terminal);
      if (options.list) {
        const grants = await client.grants.list(model);
        answer(terminal, options.json, { grants }, table([heading, ...grants.map(grantCells)]));
      } else if (options.revoke !== undefined) {
        await client.grants.revoke(model, options.revoke);
        answer(terminal, options.json, { revoked: options.revoke }, [
          `grant ${options.revoke} is taken back`,
        ]);
      } else if (options.with !== undefined) {
        const grant = await client.grants.create(model, {
          organisation: options.with,
          ...(options.permissions ? { permissions: options.permissions } : {}),
          ...(options.limit ? { limit: options.limit } : {}),
          ...(options.expires ? { expiresAt: options.expires } : {}),
        });
        answer(terminal, options.json, grant, [
          `${options.with} may ${grant.permissions.join(' and ')} ${model}${grant.limit ? `, at most ${showLimit(grant.limit)}` : ''} (grant ${grant.id})`,
        ]);
      } else throw new WrongUse('share with whom?', 'give --with <organisation>, --list or --revoke <id>');
    });
}

const heading = ['ID', 'ORGANISATION', 'PERMISSIONS', 'LIMIT', 'USED', 'EXPIRES', 'STATE'];

function grantCells(grant: Grant): string[] {
  return [
    grant.id,
    grant.organisation,
    grant.permissions.join(','),
    grant.limit ? showLimit(grant.limit) : 'none',
    grant.usedInPeriod === null ? '' : String(grant.usedInPeriod),
    grant.expiresAt ?? 'never',
    grant.revokedAt ? 'revoked' : 'active',
  ];
}

const showLimit = ({ requests, period }: Limit) => `${requests}/${period}`;

export function parseLimit(text: string): Limit {
  const match = /^(\d{1,12})\/(hour|day|month)$/.exec(text);
  const [, requests, period] = match ?? [];
  if (!requests || Number(requests) < 1 || (period !== 'hour' && period !== 'day' && period !== 'month'))
    throw new InvalidArgumentError('write it like 1000/day; periods are hour, day, month');
  return { requests: Number(requests), period };
}

export function parsePermissions(text: string): Permission[] {
  return text.split(',').map((name) => {
    if (name === 'infer' || name === 'explain' || name === 'download') return name;
    throw new InvalidArgumentError(`${JSON.stringify(name)} is none of infer, explain, download`);
  });
}

export function parseTime(text: string): string {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) throw new InvalidArgumentError('write an ISO 8601 time, e.g. 2027-01-31');
  return time.toISOString();
}
