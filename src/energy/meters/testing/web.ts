/** A sensor in the network, on loopback: what it answers at each path, and what it was asked. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Asked {
  method: string;
  path: string;
  headers: IncomingMessage['headers'];
  body: string;
}

export type Answer = unknown | ((asked: Asked, response: ServerResponse) => void);

export async function webSensor(answers: Record<string, Answer>) {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (part) => {
      body += String(part);
    });
    request.on('end', () => {
      const path = request.url ?? '';
      const one = { method: request.method ?? '', path, headers: request.headers, body };
      asked.push(one);
      const answer = answers[path];
      if (answer === undefined) {
        response.writeHead(404).end('not here');
        return;
      }
      if (typeof answer === 'function') answer(one, response);
      else response.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    answers,
    asked,
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

export const soon = () => AbortSignal.timeout(2000);
