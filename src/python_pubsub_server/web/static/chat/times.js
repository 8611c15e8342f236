/** Times as a conversation shows them: when, not how long ago. */
import { language } from "../page/language.js";

/** Puts a time of day into a <time>, the exact one into its title. */
export function showTimeOfDay(element, seconds) {
  const date = new Date(seconds * 1000);
  element.textContent = timeOfDay(date);
  element.dateTime = date.toISOString();
  element.title = date.toLocaleString(language);
}

/** The time of day, with the date where that is not today's. */
export function when(seconds) {
  const date = new Date(seconds * 1000);
  return [dayOf(seconds), timeOfDay(date)].filter(Boolean).join(" ");
}

/** The date, where it is not today's. */
export function dayOf(seconds, now = new Date()) {
  const date = new Date(seconds * 1000);
  if (date.toDateString() === now.toDateString()) return "";
  return date.toLocaleDateString(language, { weekday: "long", day: "numeric", month: "long" });
}

function timeOfDay(date) {
  return date.toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit", hour12: false });
}
