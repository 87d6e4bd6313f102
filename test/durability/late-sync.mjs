/**
 * A planted fault, loaded before the writer: the sync of a blob does nothing, so it is renamed before its bytes are
 * on the disk. Folders, the master key and the database are synced as ever.
 */
import { readlinkSync } from 'node:fs';
import { open } from 'node:fs/promises';

const probe = await open(import.meta.filename, 'r');
const prototype = Object.getPrototypeOf(probe);
await probe.close();
const sync = prototype.sync;
prototype.sync = async function () {
  if (!/\/blobs\/.*\.tmp$/.test(readlinkSync(`/proc/self/fd/${this.fd}`))) await sync.call(this);
};
