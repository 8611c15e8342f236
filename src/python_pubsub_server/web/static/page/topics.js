/** Topic patterns, as the server understands them. */
import { covers } from "../client/inbox.js";

/** What a reader types to find topics: patterns, or parts of names; nothing means everything. */
export function finder(text) {
  const wanted = text.split(/[\s,]+/).filter(Boolean);
  if (!wanted.length) return () => true;
  return (topic) =>
    wanted.some((each) => (each.endsWith("*") ? covers(each, topic) : topic.includes(each)));
}
