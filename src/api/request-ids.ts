/** Ids of requests: unique, sortable by time, and never a client's word. */
import { randomBytes } from 'node:crypto';

/** Each id tells when this door opened, some chance, and a counter. */
export function requestIds(): () => string {
  const boot = `${Date.now().toString(36).padStart(9, '0')}${randomBytes(3).toString('hex')}`;
  let count = 0;
  return () => {
    count += 1;
    return `${boot}-${count.toString(36).padStart(7, '0')}`;
  };
}

/** The client's own id, which an answer repeats; undefined when it is nothing that a header line may carry. */
export function echoedRequestId(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && /^[\x20-\x7e]{1,200}$/.test(header) ? header : undefined;
}
