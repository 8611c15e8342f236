/**
 * What a page wants to find again when it is opened anew in the same tab, in another language for
 * example. It is kept in the tab only, and read once.
 */
import { lossless } from "./lossless.js";

const PREFIX = "pubsub-kept-";

/**
 * Keeps a value when the page goes away.
 * @param {string} name
 * @param {() => any} read the value then, as JSON can hold it
 */
export function keep(name, read) {
  addEventListener("pagehide", () => {
    try {
      sessionStorage.setItem(PREFIX + name, lossless.stringify(read()));
    } catch (error) {
      console.warn(`${name} is too large to be kept:`, error.message); // the page goes away all the same
    }
  });
}

/** What was kept under a name; undefined where there is nothing. */
export function kept(name) {
  const text = sessionStorage.getItem(PREFIX + name);
  sessionStorage.removeItem(PREFIX + name);
  return text === null ? undefined : lossless.parse(text);
}

/** Keeps what is written in the fields of a form, and puts back what was. */
export function keepFields(form) {
  const fields = () => [...form.elements].filter((each) => each.id && "value" in each && each.type !== "submit");
  const before = kept(form.id) ?? {};
  for (const field of fields()) if (field.id in before) field.value = before[field.id];
  keep(form.id, () => Object.fromEntries(fields().map((each) => [each.id, each.value])));
}
