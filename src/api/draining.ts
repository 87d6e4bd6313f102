/**
 * The end of an HTTP server without a lost answer: what is under way is answered, and every answer from now on asks its
 * client to close, so that idle connections need not be cut while a request may be on its way to them.
 */
import type { RequestListener, Server, ServerResponse } from 'node:http';
import { Server as NetServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** How long clients are still heard that have not been told yet; each is told with its next answer. */
const tellingMs = 300;
const lookAgainMs = 25;

export class Draining {
  #begun = false;
  readonly #responses = new Set<ServerResponse>();
  readonly #sockets = new Set<Socket>();

  get begun(): boolean {
    return this.#begun;
  }

  /** Knows each connection from its first byte on. */
  watch(server: Server): void {
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  /** Answers of this listener ask to close once draining has begun. */
  listener(next: RequestListener): RequestListener {
    return (request, response) => {
      this.#responses.add(response);
      response.once('close', () => this.#responses.delete(response));
      if (this.#begun) askToClose(response);
      next(request, response);
    };
  }

  /** Takes no more connections; after clients have been told, `close` ends what waits for them. Resolves when none is left. */
  async drain(server: Server, close: () => Promise<unknown>, limitMs: number): Promise<void> {
    this.#begun = true;
    // Only the listening ends: who connects now is refused before anything was asked. Idle connections live on.
    NetServer.prototype.close.call(server);
    for (const response of this.#responses) askToClose(response);
    for (let waited = 0; waited < tellingMs && this.#sockets.size > 0; waited += lookAgainMs)
      await sleep(lookAgainMs);
    const looking = setInterval(() => {
      server.closeIdleConnections();
      // A connection on which nothing was ever asked is no request under way.
      for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy();
    }, lookAgainMs);
    const limit = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, limitMs);
    try {
      await close();
      while (this.#sockets.size > 0) await sleep(lookAgainMs);
    } finally {
      clearInterval(looking);
      clearTimeout(limit);
    }
  }
}

function askToClose(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('connection', 'close');
}
