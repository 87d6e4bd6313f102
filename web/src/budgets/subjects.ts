/** Whom or what a budget may be of, for a list to choose from. */
import type { Server } from '../server/server.ts';
import type { BudgetSubjectKind } from '../server/shapes.ts';

export interface Subject {
  /** As the server takes it. */
  name: string;
  text: string;
}

export async function suggestedSubjects(
  server: Pick<Server, 'keys' | 'members' | 'organisations' | 'models' | 'grants'>,
  kind: BudgetSubjectKind,
  signal: AbortSignal,
): Promise<Subject[]> {
  switch (kind) {
    case 'key':
      return (await server.keys(signal))
        .filter(({ revokedAt }) => revokedAt === null)
        .map(({ id, name, prefix, member }) => ({ name: id, text: `${name} of ${member} (${prefix}…)` }));
    case 'member':
      return (await server.members(signal)).map(({ name, role }) => ({ name, text: role }));
    case 'organisation':
      return (await server.organisations(signal)).map(({ name }) => ({ name, text: name }));
    case 'model':
      return (await server.models(signal))
        .filter(({ owned }) => owned)
        .map(({ ref }) => ({ name: ref, text: ref }));
    case 'grant': {
      const own = (await server.models(signal)).filter(({ owned }) => owned);
      const grants = own.map(async ({ ref, flat }) =>
        (await server.grants(flat, signal))
          .filter(({ revokedAt }) => revokedAt === null)
          .map(({ id, organisation }) => ({ name: id, text: `of ${ref} to ${organisation}` })),
      );
      return (await Promise.all(grants)).flat();
    }
  }
}
