/** Entry of the binary `commonwatt`. */
import { processTerminal, run } from './cli/cli.ts';

process.exitCode = await run(process.argv.slice(2), processTerminal());
