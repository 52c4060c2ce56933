// Where the server has what the page shows as files. They are whole: a panel may show a page of a list.

type Question = Record<string, string | string[]>;

/** Files are the addresses of the tables of the panels, and of one archive with all of them. */
export type Files = Record<"users" | "templates" | "apps" | "parameters" | "activity" | "latency" | "all", string>;

/** addressOf writes the address of an export. A parameter that is empty is none. */
function addressOf(table: string, question: Question): string {
  const q = new URLSearchParams();
  for (const [name, value] of Object.entries(question)) if (value.length > 0) q.set(name, String(value));
  return "/api/v2/insights/export" + table + "?" + q;
}

interface Parts {
  scope: Question; // window, zone and templates
  compared: Question; // the window before, if there is one to compare with
  template: string; // empty: several
  interval: string;
  search: string;
  usersSort: string;
  latencySort: string;
  people: boolean; // whether people may be seen one by one
}

/** filesOf are the files of the same questions as the panels ask. */
export function filesOf({ scope, compared, template, interval, search, usersSort, latencySort, people }: Parts): Files {
  const several = template === "" ? ["template-usage", "template-days"] : [];
  const tables = ["insights", "active-users", ...several, "apps", "editors", "parameters", ...(people ? ["user-activity", "user-apps", "user-latency"] : [])];
  return {
    users: addressOf("/active-users", { ...scope, interval }),
    templates: addressOf("/template-usage", { ...scope, ...compared }),
    apps: addressOf("/apps", scope),
    parameters: addressOf("/parameters", scope),
    activity: addressOf("/user-activity", { ...scope, search, sort: usersSort }),
    latency: addressOf("/user-latency", { ...scope, search, sort: latencySort }),
    all: addressOf("", { tables, ...scope, ...(several.length > 0 ? compared : {}), interval, search: people ? search : "" }),
  };
}
