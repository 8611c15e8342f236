/** How values read on a page. */
import { language } from "./language.js";
import { lossless } from "./lossless.js";

const LONGEST_SHOWN = 20_000;

/** A JSON value as text, over several lines; a very long one is cut. */
export function pretty(value) {
  return cut(lossless.stringify(value, null, 2), LONGEST_SHOWN);
}

/** A JSON value on one line. */
export function oneLine(value) {
  return cut(lossless.stringify(value), 160);
}

function cut(text, length) {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

/** A Unix time as a short local one: the time of day today, with the date otherwise. */
export function shortTime(seconds, now = new Date()) {
  if (seconds === null || seconds === undefined) return "";
  const date = new Date(seconds * 1000);
  const time = date.toLocaleTimeString(language, { hour12: false });
  if (date.toDateString() === now.toDateString()) return time;
  return `${date.toLocaleDateString(language, { day: "numeric", month: "short" })} ${time}`;
}

/** Sets a <time> to a Unix time: short text, exact title. */
export function showTime(element, seconds) {
  const text = shortTime(seconds);
  if (element.textContent === text) return;
  element.textContent = text;
  if (text === "") return;
  element.dateTime = new Date(seconds * 1000).toISOString();
  element.title = new Date(seconds * 1000).toLocaleString(language);
}

export function count(number) {
  return number.toLocaleString(language);
}
