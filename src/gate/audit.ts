/** The audit trail: who changed what, written in the same transaction as the change, so neither is ever alone. */
import type { Db } from '../storage/db.ts';

export interface AuditEvent {
  /** `organisation/member`, or `system` for what the server does by itself. */
  actor: string;
  /** The organisation whose trail it belongs to. */
  organisationId: string;
  /** What was done, e.g. `key.revoke`. */
  action: string;
  /** To what: an id or a name. */
  subject: string;
  /** Facts worth keeping; never a secret. */
  detail?: Readonly<Record<string, unknown>>;
}

/** Appends one event. `db` is the transaction of the change, or the database when nothing else changes. */
export async function recordAudit(db: Db, event: AuditEvent, at: Date = new Date()): Promise<void> {
  await db
    .insertInto('audit_events')
    .values({
      at: at.toISOString(),
      actor: event.actor,
      organisation_id: event.organisationId,
      action: event.action,
      subject: event.subject,
      detail: JSON.stringify(event.detail ?? {}),
    })
    .execute();
}

export function actorOf({ organisation, member }: { organisation: string; member: string }): string {
  return `${organisation}/${member}`;
}
