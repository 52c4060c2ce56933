// What can be done without a mouse.

import { useEffect, useRef } from "preact/hooks";
import { presets } from "./calendar";
import { shift } from "./header";
import type { Change, View } from "./view";

/** charts are the panels that can be shown as tables. */
const charts = ["apps", "parameters", "users"];

export function useShortcuts(view: View, change: Change, help: () => void): void {
  const latest = useRef({ view, change, help });
  latest.current = { view, change, help };
  useEffect(() => {
    const press = (e: KeyboardEvent) => {
      const target = e.target as HTMLElement;
      if (e.metaKey || e.ctrlKey || e.altKey || target.closest("input, select, textarea, dialog")) return;
      const { view, change, help } = latest.current;
      const preset = presets.find((p) => p.key === e.key);
      const intervals = ["", "day", "week"];
      const actions: Record<string, () => void> = {
        ArrowLeft: () => change(shift(view, -1)),
        ArrowRight: () => change(shift(view, 1)),
        i: () => change({ interval: intervals[(intervals.indexOf(view.interval) + 1) % 3] as string }),
        x: () => change({ compare: !view.compare }),
        g: () => change({ tables: view.tables.length > 0 ? [] : charts }),
        "/": () => document.getElementById("search")?.focus(),
        "?": help,
        Escape: () => (view.search !== "" ? change({ search: "" }) : view.template !== "" && !document.querySelector("details.popover[open]") && change({ template: "" })),
      };
      const action = preset ? () => change({ range: preset.name, from: "", to: "" }) : actions[e.key];
      if (!action || (e.key.startsWith("Arrow") && target.closest("[tabindex], summary") && target !== document.body)) return;
      if (e.key !== "Escape") e.preventDefault();
      action();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

export function Help({ open, close }: { open: boolean; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open]);
  const rows: [string, string][] = [
    ...presets.map((p): [string, string] => [p.key, p.label]),
    ["← →", "Earlier, later"], ["i", "Interval: auto, days, weeks"], ["x", "Compare with before"], ["g", "Charts or tables"], ["/", "Find people"], ["Esc", "Clear the search; all templates"], ["?", "This list"],
  ];
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="help-title">
      <h2 id="help-title">Keyboard</h2>
      <dl class="keys">{rows.map(([key, what]) => <div key={key}><dt><kbd>{key}</kbd></dt><dd>{what}</dd></div>)}</dl>
      <form method="dialog"><button type="submit">Close</button></form>
    </dialog>
  );
}
