// Tables as files. What a spreadsheet would take for a formula gets an apostrophe, which it takes for text.

export type Cell = string | number;

export interface Sheet {
  columns: string[];
  rows: Cell[][];
}

function cell(value: Cell): string {
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]/.test(value) ? "'" + value : value;
  return /[",\r\n;\t']/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}

/** csv writes a sheet by RFC 4180. */
export const csv = (sheet: Sheet): string => [sheet.columns, ...sheet.rows].map((row) => row.map(cell).join(",") + "\r\n").join("");

/** download hands sheets to the browser as one file: a single one as it is, several each under its title. */
export function download(name: string, sheets: Map<string, Sheet>): void {
  const alone = sheets.size === 1;
  const text = [...sheets].map(([title, sheet]) => (alone ? "" : cell(title) + "\r\n") + csv(sheet)).join("\r\n");
  const address = URL.createObjectURL(new Blob(["\uFEFF", text], { type: "text/csv;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name.replaceAll(/[^\w.-]+/g, "_") + ".csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
