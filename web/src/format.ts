// How numbers, times and names look.

const whole = new Intl.NumberFormat("en");

export const count = (n: number): string => whole.format(n);

export const plural = (n: number, one: string, many = one + "s"): string => count(n) + " " + (n === 1 ? one : many);

/** duration writes seconds in the unit that says most. */
export function duration(seconds: number): string {
  if (seconds < 60) return seconds + " s";
  if (seconds < 3600) return Math.floor(seconds / 60) + " min";
  const tenths = Math.round(seconds / 360);
  return (tenths < 1000 ? (tenths / 10).toFixed(1) : count(Math.round(seconds / 3600))) + " h";
}

/** ago writes how long a moment is past. */
export function ago(moment: string, now: number): string {
  const minutes = Math.floor((now - Date.parse(moment)) / 60_000);
  if (minutes < 1) return "just now";
  return minutes < 60 ? minutes + " min ago" : Math.floor(minutes / 60) + " h ago";
}

/** share writes a part of a whole; a part that is not zero never looks like it. */
export function share(part: number, total: number): string {
  if (total === 0) return "0 %";
  const percent = (100 * part) / total;
  if (part > 0 && percent < 0.1) return "< 0.1 %";
  return (percent >= 10 ? Math.round(percent) : Number(percent.toFixed(1))) + " %";
}

/** latency writes milliseconds; -1 stands for no sample. */
export const latency = (ms: number): string => (ms < 0 ? "–" : (ms < 10 ? ms.toFixed(1) : Math.round(ms).toString()) + " ms");

const formats = new Map<string, Intl.DateTimeFormat>();

function format(moment: string | number, zone: string, options: Intl.DateTimeFormatOptions): string {
  const key = zone + JSON.stringify(options);
  let f = formats.get(key);
  if (!f) {
    f = new Intl.DateTimeFormat("en-GB", { timeZone: zone, ...options });
    formats.set(key, f);
  }
  return f.format(typeof moment === "string" ? Date.parse(moment) : moment);
}

export const shortDay = (moment: string, zone: string): string => format(moment, zone, { day: "numeric", month: "short" });

export const longDay = (moment: string, zone: string): string => format(moment, zone, { weekday: "short", day: "numeric", month: "short", year: "numeric" });

export const dayAndClock = (moment: string | number, zone: string): string => format(moment, zone, { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });

/** days writes days of the calendar from one to another, as shortly as can be. */
export const days = (from: string, to: string): string =>
  new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...(from === to ? { weekday: "short" } : {}), day: "numeric", month: "short", year: "numeric" }).formatRange(Date.parse(from), Date.parse(to));

/** initials stand for a picture, which would have to come from elsewhere. */
export function initials(name: string): string {
  const words = name.split(/[^\p{L}\p{N}]+/u).filter((word) => word !== "");
  return words.slice(0, 2).map((word) => [...word][0] ?? "").join("").toUpperCase() || "?";
}

/** sentence makes a word of the API one for people. */
export const words = (name: string): string => name.replaceAll("_", " ");

/** forPeople writes the times in a sentence of the server as people do. */
export const forPeople = (sentence: string, zone: string): string =>
  sentence.replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)/g, (moment) => dayAndClock(moment, zone));

/** hidden says why a number is not told where small groups are hidden. */
export const hidden = (floor: number | undefined): string => `hidden: fewer than ${floor ?? 0} people`;
