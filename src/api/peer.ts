/** Whose request it is: the socket's own address, or what one of our door processes says of its client. */
import type { IncomingMessage } from 'node:http';

/** Set by doors on every request they pass on; what a client says under this name never gets so far. */
export const peerHeader = 'x-commonwatt-peer';

const told = new WeakMap<IncomingMessage, string>();

/** Only for requests from our own doors, on the socket that nobody else can reach. */
export function takePeer(request: IncomingMessage): void {
  const peer = request.headers[peerHeader];
  told.set(request, typeof peer === 'string' ? peer : '');
  delete request.headers[peerHeader];
}

/** Headers such as Host or X-Forwarded-For are anybody's word. */
export function peerOf(request: IncomingMessage): string | undefined {
  return told.get(request) ?? request.socket.remoteAddress;
}
