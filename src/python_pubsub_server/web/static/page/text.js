/** How values read on a page. */
import { setText } from "./dom.js";
import { language, say } from "./language.js";
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

const UNITS = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];
const LONGEST_RELATIVE_DAYS = 7;
const relative = new Intl.RelativeTimeFormat(language, { style: "short", numeric: "always" });

/** A Unix time as it is spoken of: how long ago, or the date when that is more than a week. */
export function timeAgo(seconds, now = Date.now() / 1000) {
  if (seconds === null || seconds === undefined) return "";
  const age = Math.max(0, now - seconds); // another machine's clock may be ahead of this one's
  if (age < 1) return say("now");
  if (age > LONGEST_RELATIVE_DAYS * 86_400) {
    return new Date(seconds * 1000).toLocaleDateString(language, { dateStyle: "medium" });
  }
  const [unit, length] = UNITS.find(([, length]) => age >= length);
  return relative.format(-Math.floor(age / length), unit);
}

/** Sets a <time> to a Unix time: how long ago (see `keepTimes`), and the exact one as its title. */
export function showTime(element, seconds) {
  setText(element, timeAgo(seconds));
  if (seconds === null || seconds === undefined) {
    delete element.dataset.at;
    return;
  }
  if (element.dataset.at === String(seconds)) return;
  element.dataset.at = seconds;
  const date = new Date(seconds * 1000);
  element.dateTime = date.toISOString();
  element.title = date.toLocaleString(language, { dateStyle: "full", timeStyle: "medium" });
}

/** Lets the times of a page grow older. */
export function keepTimes() {
  setInterval(() => {
    if (document.hidden) return;
    for (const element of document.querySelectorAll("time[data-at]")) {
      setText(element, timeAgo(Number(element.dataset.at)));
    }
  }, 1_000);
}

/** A number a second: small ones with a digit behind the point. */
export function rate(number) {
  return number.toLocaleString(language, { maximumFractionDigits: number < 10 ? 1 : 0 });
}

export function milliseconds(number) {
  return number.toLocaleString(language, { maximumSignificantDigits: number < 100 ? 2 : 4 });
}

/** A size: 512 B, 1.2 kB, 3 MB; in French 512 o. */
export function bytes(number) {
  const power = number < 1_000 ? 0 : number < 1_000_000 ? 1 : 2;
  const unit = ["", "k", "M"][power] + (language === "fr" ? "o" : "B");
  const digits = { maximumFractionDigits: 1 };
  return `${(number / 1_000 ** power).toLocaleString(language, digits)}\u00a0${unit}`;
}

export function count(number) {
  return number.toLocaleString(language);
}

/** A length of time: 7 s, 3:05, 2:03:05, 3 days 2:03:05. */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const days = Math.floor(whole / 86_400);
  const [hours, minutes, rest] = [Math.floor(whole / 3_600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  if (!days && !hours && !minutes) return `${rest}\u00a0s`;
  if (!days && !hours) return `${minutes}:${two(rest)}`;
  const clock = `${hours}:${two(minutes)}:${two(rest)}`;
  return days ? say("{days} d {clock}", { days, clock }) : clock;
}
