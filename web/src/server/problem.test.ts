import { describe, expect, it } from 'vitest';
import { asProblem, problemOf } from './problem.ts';

describe('a refused call', () => {
  it('keeps detail, hint and code of problem details', async () => {
    const problem = await problemOf(
      Response.json(
        {
          title: 'Not Found',
          code: 'MODEL_NOT_FOUND',
          detail: 'model acme/x does not exist',
          hint: 'see /models',
        },
        { status: 404, headers: { 'x-commonwatt-request-id': 'r1' } },
      ),
    );
    expect(problem).toMatchObject({
      message: 'model acme/x does not exist',
      hint: 'see /models',
      code: 'MODEL_NOT_FOUND',
      status: 404,
      requestId: 'r1',
    });
  });

  it('keeps the error of the inference protocol', async () => {
    const problem = await problemOf(Response.json({ error: 'shape [1, 99] is wrong' }, { status: 400 }));
    expect(problem.message).toBe('shape [1, 99] is wrong');
    expect(problem.hint).toBeUndefined();
  });

  it('says something about an answer that is no JSON', async () => {
    const problem = await problemOf(new Response('<html>', { status: 502, statusText: 'Bad Gateway' }));
    expect(problem.message).toBe('The server answered 502 Bad Gateway');
  });

  it('says that the server is away when no answer came', () => {
    expect(asProblem(new TypeError('Failed to fetch'))).toMatchObject({ status: 0 });
  });
});
