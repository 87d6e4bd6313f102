/** A planted fault, loaded before the server: lines of the ledger's spool are said to be written and are not. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const { writeSync } = fs;
fs.writeSync = (fd, data, ...rest) =>
  typeof data === 'string' && /\/spool\/.*\.ndjson$/.test(fs.readlinkSync(`/proc/self/fd/${fd}`))
    ? Buffer.byteLength(data)
    : writeSync(fd, data, ...rest);
syncBuiltinESMExports();
