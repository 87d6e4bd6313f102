/** The live figures of the platform as server-sent events, one `impact` every two seconds. */
import type { ServerResponse } from 'node:http';
import { CommonwattError } from '../../errors.ts';
import { principalOf } from '../guard.ts';
import type { House, PlatformApp } from './house.ts';
import { liveSchema } from './impact-shapes.ts';

const everyMs = 2000;
const listenersAtMost = 200;
/** So that a revoked key does not listen for ever; clients reconnect by themselves. */
const longestMs = 10 * 60_000;

export function eventRoutes(app: PlatformApp, { energy }: Pick<House, 'energy'>): void {
  const listeners = new Map<ServerResponse, number>();
  let timer: NodeJS.Timeout | undefined;

  function tick() {
    // Made once for all listeners, and not at all when nobody listens.
    const event = `event: impact\ndata: ${JSON.stringify(energy.live())}\n\n`;
    const now = Date.now();
    for (const [stream, since] of listeners) {
      if (now - since > longestMs) stream.end();
      // Who does not read loses events, not our memory.
      else if (!stream.writableNeedDrain) stream.write(event);
    }
  }

  function forget(stream: ServerResponse) {
    listeners.delete(stream);
    if (listeners.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  }

  app.addHook('preClose', async () => {
    for (const stream of listeners.keys()) stream.end();
  });
  app.get(
    '/events',
    {
      exposeHeadRoute: false,
      config: { access: 'key', errors: ['OVERLOADED'] },
      schema: {
        tags: ['impact'],
        summary: 'Follow the live figures',
        description: 'Server-sent events of type impact; the data of each is as below.',
        response: {
          200: { description: 'a stream', content: { 'text/event-stream': { schema: liveSchema } } },
        },
      },
    },
    (request, reply) => {
      principalOf(request);
      if (listeners.size >= listenersAtMost) {
        throw new CommonwattError('OVERLOADED', `${listenersAtMost} listeners are connected already`, {
          retryAfterS: 30,
          hint: 'GET /api/v1/impact gives the same figures once',
        });
      }
      const { raw } = reply;
      reply.header('content-type', 'text/event-stream; charset=utf-8').header('cache-control', 'no-store');
      reply.hijack();
      for (const [name, value] of Object.entries(reply.getHeaders()))
        if (value !== undefined) raw.setHeader(name, value);
      raw.writeHead(200);
      raw.write(`event: impact\ndata: ${JSON.stringify(energy.live())}\n\n`);
      listeners.set(raw, Date.now());
      timer ??= setInterval(tick, everyMs).unref();
      raw.once('close', () => forget(raw));
    },
  );
}
