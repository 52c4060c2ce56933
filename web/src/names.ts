// What templates are called.

import type { Organization, Template } from "@template-insights/client";

/** NamedOrganization is what the page says of an organization. */
export type NamedOrganization = Pick<Organization, "id" | "name" | "display_name">;

/** namesOf names templates so that no two are called the same: where what people see repeats, the organization is added, or the name within it. */
export function namesOf(templates: Template[]): Map<string, string> {
  const alike = new Map<string, Template[]>();
  for (const t of templates) alike.set(seen(t), [...(alike.get(seen(t)) ?? []), t]);
  const additions: ((t: Template) => string)[] = [
    organizationOf, (t) => t.name, (t) => `${organizationOf(t)}/${t.name}`, (t) => t.id,
  ];
  return new Map(templates.map((t) => {
    const others = (alike.get(seen(t)) ?? []).filter((other) => other !== t);
    const tells = additions.find((of) => of(t) !== "" && others.every((other) => of(other) !== of(t)));
    return [t.id, others.length === 0 || !tells ? seen(t) : `${seen(t)} (${tells(t)})`];
  }));
}

/** organizationOf is what people see of the organization of a template. */
export const organizationOf = (t: Template): string => t.organization_display_name || t.organization_name;

/** seen is what people see of a template alone. */
const seen = (t: Template): string => (t.display_name || t.name) + (t.deleted_at ? " – deleted" : "");
