/** Callers that send one request after another, each on a connection of its own, and note what became of every one. */
import { Agent, request } from 'node:http';

export interface Outcome {
  caller: number;
  /** undefined: no answer came. */
  status: number | undefined;
  /** Which process took it: the first part of the request's id. */
  door: string | undefined;
  error: string | undefined;
  /** The connection was refused: nothing was sent. */
  refused: boolean;
}

export interface LoadOptions {
  url: string;
  apiKey: string;
  body: string;
  callers: number;
  /** Asked before each request. */
  more(outcomes: readonly Outcome[]): boolean;
}

/** Every caller ends when there is to be no more, or when it is refused a connection. */
export async function callAgainAndAgain({
  url,
  apiKey,
  body,
  callers,
  more,
}: LoadOptions): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      for (let refused = false; !refused && more(outcomes); ) {
        const outcome = await once({ url, apiKey, body, agent, caller });
        outcomes.push(outcome);
        refused = outcome.refused;
      }
      agent.destroy();
    }),
  );
  return outcomes;
}

function once({
  url,
  apiKey,
  body,
  agent,
  caller,
}: Pick<LoadOptions, 'url' | 'apiKey' | 'body'> & { agent: Agent; caller: number }) {
  return new Promise<Outcome>((resolve) => {
    const failed = (error: NodeJS.ErrnoException) =>
      resolve({
        caller,
        status: undefined,
        door: undefined,
        error: error.code ?? error.message,
        refused: error.code === 'ECONNREFUSED',
      });
    const sent = request(
      url,
      {
        method: 'POST',
        agent,
        headers: { authorization: `Bearer ${apiKey}`, 'content-length': Buffer.byteLength(body) },
      },
      (response) => {
        response.on('error', failed);
        response.on('end', () =>
          resolve({
            caller,
            status: response.statusCode,
            door: String(response.headers['x-commonwatt-request-id']).split('-')[0],
            error: undefined,
            refused: false,
          }),
        );
        response.resume();
      },
    );
    sent.on('error', failed);
    sent.end(body);
  });
}
