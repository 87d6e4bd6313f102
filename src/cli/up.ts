/** `commonwatt up`: the server, until Ctrl-C or SIGTERM; with --example the first example, end to end. */
import { type Command, Option } from 'commander';
import { type Config, loadConfig } from '../config.ts';
import { CommonwattError } from '../errors.ts';
import { createLog } from '../telemetry/logs.ts';
import type { ServerOptions } from './connection.ts';
import { wholeNumber } from './references.ts';
import { stopRequest } from './stop-request.ts';
import { answer, type Terminal } from './terminal.ts';

interface Options extends ServerOptions {
  example?: boolean;
  host?: string;
  port?: number;
  grpcPort?: number;
  data?: string;
}

export function define(command: Command, terminal: Terminal): void {
  command
    .option('--example', 'on the first start, run the example: train, deploy, share, call, explain, account')
    .option('--host <address>', 'where to listen (default: COMMONWATT_HOST, then 127.0.0.1)')
    .addOption(new Option('--port <n>', 'HTTP (default: COMMONWATT_PORT, then 8080)').argParser(wholeNumber))
    .addOption(
      new Option('--grpc-port <n>', 'gRPC (default: COMMONWATT_GRPC_PORT, then 8081)').argParser(wholeNumber),
    )
    .option('--data <folder>', 'what must survive (default: COMMONWATT_DATA, then .commonwatt)')
    .addHelpText(
      'after',
      '\nExample:\n  $ commonwatt up --example\n\nSIGUSR2 replaces the processes that compute by new ones, without a failed request.',
    )
    .action(async ({ example, json, host, port, grpcPort, data }: Options) => {
      const flags = {
        ...(host === undefined ? {} : { host }),
        ...(port === undefined ? {} : { port }),
        ...(grpcPort === undefined ? {} : { grpcPort }),
        ...(data === undefined ? {} : { data }),
      };
      const config = loadConfig(terminal.env, flags);
      // The example tells its story on the terminal; log lines would tear it apart unless they are asked for.
      const quiet = example && terminal.env.COMMONWATT_LOG_LEVEL === undefined && config.logLevel === 'info';
      await serve(quiet ? { ...config, logLevel: 'error' } : config, { example, json }, terminal);
    });
}

async function serve(
  config: Config,
  { example, json }: { example: boolean | undefined; json: boolean | undefined },
  terminal: Terminal,
): Promise<void> {
  const started = performance.now();
  const stop = stopRequest(terminal);
  const { startApp } = await import('../app.ts');
  const log = createLog(config.logLevel);
  const app = await startApp(config, { log }).catch((error: unknown) => {
    throw portTaken(error, config) ?? error;
  });
  process.on('SIGUSR2', () => {
    const began = performance.now();
    app.restartRunners().then(
      () => log.info({ ms: Math.round(performance.now() - began) }, 'runners replaced'),
      (error: unknown) => log.error({ err: error }, 'runners not replaced: they go on as before'),
    );
  });
  try {
    if (!json) {
      terminal.out(`Commonwatt at ${app.baseUrl}\n`);
      for (const line of app.energyLines) terminal.out(`  ${line}\n`);
      if (app.bootstrap.operatorKey && !example)
        terminal.out(`  operator's API key, shown this once: ${app.bootstrap.operatorKey}\n`);
    }
    if (example) await withExample();
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const { baseUrl, grpcAddress } = app;
    answer(terminal, json, { ready: true, baseUrl, grpcAddress, operatorKey: app.bootstrap.operatorKey }, [
      `ready  ${baseUrl}  after ${seconds} s; Ctrl-C stops`,
    ]);
    // The example's story does not show it: a later start without the example does.
    if (app.bootstrap.operatorKey && (json || !example)) await app.bootstrap.operatorKeyShown();
    await stop.asked;
  } catch (error) {
    // Being told to stop in the middle of the example is no failure: the next start goes on from there.
    if (!stop.signal.aborted) throw error;
  } finally {
    await app.stop();
  }
  if (!json) terminal.out('stopped\n');

  async function withExample(): Promise<void> {
    const { runExample } = await import('./example.ts');
    const storyteller = json ? { ...terminal, out: terminal.err } : terminal;
    await runExample(app, config.data, storyteller, stop.signal);
  }
}

function portTaken(error: unknown, config: Config): CommonwattError | undefined {
  if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) return undefined;
  const taken = 'port' in error && typeof error.port === 'number' ? error.port : config.port;
  const isGrpc = taken === config.grpcPort && taken !== config.port;
  const variable = isGrpc ? 'COMMONWATT_GRPC_PORT' : 'COMMONWATT_PORT';
  return new CommonwattError('CONFLICT', `port ${taken} on ${config.host} is taken by another program`, {
    where: variable,
    hint: `stop it, or choose another port: ${variable}=${taken + 10} npm start`,
    cause: error,
  });
}
