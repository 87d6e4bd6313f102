/** `commonwatt impact verify`, `receipt` and `rotate-key`: signed receipts. */
import { existsSync, readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { checkUrl, connect, defaultUrl, type ServerOptions } from './connection.ts';
import { WrongUse } from './failure.ts';
import { fileProblem } from './files.ts';
import { showCarbon, showEnergy } from './quantities.ts';
import { answer, type Terminal } from './terminal.ts';
import type { Claims, PublicKeys, Verdict } from './verify-receipt.ts';

interface VerifyOptions extends ServerOptions {
  server?: string;
}

const keysPath = '/.well-known/commonwatt-receipts.json';

export function defineReceipts(command: Command, terminal: Terminal): void {
  command
    .command('verify')
    .description('check a signed receipt; exits 1 when it is not what was signed')
    .argument('<receipt>', 'the receipt itself, a file that holds it, or - for standard input')
    .option('--key <file>', `the issuer's public keys, saved from ${keysPath}: works offline`)
    .option('--server <url>', 'ask this server for its public keys (no API key is sent)')
    .addHelpText(
      'after',
      '\nExamples:\n  $ commonwatt impact verify receipt.txt --key keys.json\n  $ commonwatt impact verify - --server https://models.example < receipt.txt',
    )
    .action(async (given: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<VerifyOptions>();
      const { verifyReceipt } = await import('./verify-receipt.ts');
      const text = await readGiven(given, terminal);
      const verdict = await verifyReceipt(text, await findKeys(options, terminal), Date.now());
      answer(terminal, options.json, verdict, verdictLines(verdict));
      if (!verdict.valid) terminal.exitCode = 1;
    });
  command
    .command('receipt')
    .description('fetch the signed receipt of a request as the ledger has it')
    .argument('<request id>', 'x-commonwatt-request-id of an answer')
    .action(async (id: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<ServerOptions>();
      const receipt = await connect(options, terminal).receipts.settled(id);
      answer(terminal, options.json, receipt, [receipt.receipt]);
    });
  command
    .command('rotate-key')
    .description('sign receipts with a new key from now on (operators only)')
    .action(async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<ServerOptions>();
      const { kid } = await connect(options, terminal).receipts.rotateKey();
      answer(terminal, options.json, { kid }, [`receipts are signed with key ${kid} from now on`]);
    });
}

async function readGiven(given: string, terminal: Terminal): Promise<string> {
  if (given === '-') return terminal.readInput();
  if (existsSync(given)) return readText(given);
  const { looksSigned } = await import('./verify-receipt.ts');
  if (looksSigned(given)) return given;
  throw new WrongUse(
    `${JSON.stringify(given.slice(0, 60))} is neither a file nor a receipt`,
    'give the receipt (three parts with dots between), a file that holds it, or - for standard input',
  );
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw fileProblem(file, error);
  }
}

async function findKeys({ key, server, url }: VerifyOptions, terminal: Terminal): Promise<PublicKeys> {
  if (key !== undefined) return parseKeys(readText(key), key);
  const root = checkUrl(server ?? url ?? (terminal.env.COMMONWATT_URL || defaultUrl));
  const response = await fetch(root + keysPath).catch((cause: unknown) => {
    throw new WrongUse(
      `the public keys cannot be fetched from ${root}: ${cause instanceof Error ? cause.message : cause}`,
      'name the server that issued the receipt (--server), or its saved keys (--key)',
    );
  });
  if (!response.ok)
    throw new WrongUse(
      `${root}${keysPath} answered ${response.status}`,
      'name the server that issued the receipt (--server), or its saved keys (--key)',
    );
  return parseKeys(await response.text(), root + keysPath);
}

async function parseKeys(text: string, where: string): Promise<PublicKeys> {
  const { publicKeysSchema } = await import('./verify-receipt.ts');
  try {
    return publicKeysSchema.parse(JSON.parse(text));
  } catch {
    throw new WrongUse(
      `${where} is no set of public keys of receipts`,
      `save ${keysPath} of the server that issued the receipt`,
    );
  }
}

function verdictLines(verdict: Verdict): string[] {
  if (!verdict.valid) return [`NOT VALID: ${verdict.failure}`, `  ${verdict.detail}`];
  return [`valid: signed by ${verdict.claims.iss} with key ${verdict.kid}`, ...claimLines(verdict.claims)];
}

function claimLines(claims: Claims): string[] {
  const { energyWh, carbonGCo2e, quality, method, methodVersion, settled } = claims;
  return [
    `  request   ${claims.sub}, answered ${claims.time}`,
    `  model     ${claims.model ?? 'none'}${claims.version === null ? '' : `:${claims.version}`}${claims.modelDigest === null ? '' : `  ${claims.modelDigest}`}`,
    `  consumer  ${claims.consumer ?? 'none'}`,
    `  used      ${showEnergy(energyWh)}, ${showCarbon(carbonGCo2e)}; ${quality} by ${method} (method version ${methodVersion}), ${settled ? 'settled' : 'provisional: the figure of the answer'}`,
    ...Object.entries(claims.unknown).map(([claim, why]) => `  unknown: ${claim}: ${why}`),
  ];
}
