// Days of a time zone. A day is written as 2026-11-21; a moment is a number of milliseconds since 1970.

export type Day = string;

const dayLength = 24 * 3600 * 1000;

const formats = new Map<string, Intl.DateTimeFormat>();

function clockOf(zone: string): Intl.DateTimeFormat {
  let format = formats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat("en-US", {
      timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric",
    });
    formats.set(zone, format);
  }
  return format;
}

/** isZone is whether the browser knows a time zone by its name as the server spells it: browsers take any case, and offsets as well. */
export function isZone(name: string): boolean {
  if (!/^[A-Z]/.test(name)) return false;
  try {
    clockOf(name);
    return true;
  } catch {
    return false;
  }
}

/** offsetOf is how far a zone's clocks are ahead of UTC at a moment, in milliseconds. */
function offsetOf(moment: number, zone: string): number {
  const part: Record<string, number> = {};
  for (const { type, value } of clockOf(zone).formatToParts(moment)) part[type] = Number(value);
  const shown = Date.UTC(part.year ?? 0, (part.month ?? 1) - 1, part.day, part.hour, part.minute, part.second);
  return shown - Math.floor(moment / 1000) * 1000;
}

const utc = (day: Day): number => Date.parse(day + "T00:00:00Z");

const dayAt = (moment: number): Day => new Date(moment).toISOString().slice(0, 10);

export const isDay = (text: string): boolean => /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(utc(text)) && dayAt(utc(text)) === text;

export const addDays = (day: Day, n: number): Day => dayAt(utc(day) + n * dayLength);

/** daysBetween counts from one day up to, and with, another. */
export const daysBetween = (from: Day, to: Day): number => Math.round((utc(to) - utc(from)) / dayLength) + 1;

/** dayOf is the day that a zone's calendar shows at a moment. */
export const dayOf = (moment: number, zone: string): Day => dayAt(moment + offsetOf(moment, zone));

/** momentOf is when a zone's clocks show so much time of a day first, or when they pass it by. */
function momentOf(day: Day, time: number, zone: string): number {
  const shown = utc(day) + time;
  const before = shown - offsetOf(shown - dayLength, zone);
  const after = shown - offsetOf(shown + dayLength, zone);
  const moments = [before, after].filter((moment) => moment + offsetOf(moment, zone) === shown);
  return moments.length > 0 ? Math.min(...moments) : before;
}

/** startOf is the first moment of a day. Where clocks go forward at midnight the day begins later. */
export const startOf = (day: Day, zone: string): number => momentOf(day, 0, zone);

/** comingHour is the next full hour of a zone's clocks. */
function comingHour(moment: number, zone: string): number {
  const hour = 3600 * 1000, offset = offsetOf(moment, zone);
  return (Math.floor((moment + offset) / hour) + 1) * hour - offset;
}

/** rfc3339 writes a moment as a zone's clocks show it. */
export function rfc3339(moment: number, zone: string): string {
  const offset = offsetOf(moment, zone) / 60000, size = Math.abs(offset);
  const two = (n: number) => String(Math.floor(n)).padStart(2, "0");
  return new Date(moment + offset * 60000).toISOString().slice(0, 19) + (offset < 0 ? "-" : "+") + two(size / 60) + ":" + two(size % 60);
}

/** Period is a row of whole days, the last of which may be today. */
export interface Period {
  from: Day;
  to: Day;
}

export const length = (p: Period): number => daysBetween(p.from, p.to);

/** previous is the period of the same length before another. */
export const previous = (p: Period): Period => ({ from: addDays(p.from, -length(p)), to: addDays(p.from, -1) });

/** wholeWeeks is whether a period can be shown in weeks, the last of which may lack a day. */
export const wholeWeeks = (p: Period): boolean => length(p) % 7 === 0 || length(p) % 7 === 6;

/** intervalOf is what the API is asked for: a choice as far as the period has it, or what suits; a week alone would be one bar. */
export function intervalOf(chosen: string, p: Period): string {
  if (chosen === "day" || !wholeWeeks(p) || (chosen === "" && length(p) <= 7)) return "day";
  return chosen || "default";
}

/** Window is how the API names a time. */
export interface Window {
  start_time: string;
  end_time: string;
  timezone: string;
}

const between = (from: number, to: number, zone: string): Window => ({ start_time: rfc3339(from, zone), end_time: rfc3339(to, zone), timezone: zone });

/** endOf is when a period ends: with the coming hour if its last day is today. */
function endOf(p: Period, zone: string, now: number): number {
  const midnight = startOf(addDays(p.to, 1), zone);
  return p.to === dayOf(now, zone) ? Math.min(comingHour(now, zone), midnight) : midnight;
}

export const windowOf = (p: Period, zone: string, now: number): Window => between(startOf(p.from, zone), endOf(p, zone, now), zone);

/** windowBefore is the same part of the period before: its last day ends when clocks show what they show at the end of the period. */
export function windowBefore(p: Period, zone: string, now: number): Window {
  const before = previous(p), end = endOf(p, zone, now);
  const time = Math.min(dayLength, end + offsetOf(end, zone) - utc(p.to));
  return between(startOf(before.from, zone), momentOf(before.to, time, zone), zone);
}

/** Preset is a period that follows the calendar. */
export interface Preset {
  name: string;
  label: string;
  key: string;
  of: (today: Day) => Period;
}

const last = (n: number) => (today: Day): Period => ({ from: addDays(today, 1 - n), to: today });

export const presets: Preset[] = [
  { name: "today", label: "Today", key: "d", of: last(1) },
  { name: "yesterday", label: "Yesterday", key: "e", of: (today) => ({ from: addDays(today, -1), to: addDays(today, -1) }) },
  { name: "7d", label: "7 days", key: "w", of: last(7) },
  { name: "14d", label: "14 days", key: "f", of: last(14) },
  { name: "28d", label: "28 days", key: "t", of: last(28) },
  { name: "30d", label: "30 days", key: "3", of: last(30) },
  { name: "90d", label: "90 days", key: "9", of: last(90) },
  { name: "12w", label: "12 weeks", key: "q", of: last(84) },
  { name: "24w", label: "24 weeks", key: "h", of: last(168) },
  { name: "month", label: "This month", key: "m", of: (today) => ({ from: today.slice(0, 8) + "01", to: today }) },
  {
    name: "last-month", label: "Last month", key: "p",
    of: (today) => {
      const to = addDays(today.slice(0, 8) + "01", -1);
      return { from: to.slice(0, 8) + "01", to };
    },
  },
  { name: "year", label: "This year", key: "y", of: (today) => ({ from: today.slice(0, 5) + "01-01", to: today }) },
];
