/** Topic patterns, as the server understands them. */

/** Whether a topic or pattern covers a topic; `*` alone leaves out the server's `$` topics. */
export function matches(pattern, topic) {
  if (pattern === "*") return !topic.startsWith("$");
  return pattern.endsWith("*") ? topic.startsWith(pattern.slice(0, -1)) : pattern === topic;
}

/** What a reader types to find topics: patterns, or parts of names; nothing means everything. */
export function finder(text) {
  const wanted = text.split(/[\s,]+/).filter(Boolean);
  if (!wanted.length) return () => true;
  return (topic) =>
    wanted.some((each) => (each.endsWith("*") ? matches(each, topic) : topic.includes(each)));
}
