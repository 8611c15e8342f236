/** What the server takes, so that a form can say what is wrong before it sends. Texts are in English. */

const LONGEST_NAME = 200;
const DEEPEST = 256;
const MOST_DIGITS = 4_300;
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|[{}[\],:]|true|false|null/g;

/** Why a name is refused: `{text, values}`; null when it is not. */
export function nameProblem(name) {
  const length = [...name].length; // characters, as the server counts them
  if (length > LONGEST_NAME) {
    return { text: "{length} characters; {most} at most.", values: { length, most: LONGEST_NAME } };
  }
  const code = [...name].map((each) => each.codePointAt(0)).find((each) => each < 32 || (each > 126 && each < 160));
  if (code !== undefined) return { text: "It must not contain control characters.", values: {} };
  return null;
}

/** Why a message can't be published on a topic. */
export function topicProblem(topic) {
  if (topic.includes("*")) return { text: "* is for subscribing: publish on one topic.", values: {} };
  if (topic.startsWith("$")) return { text: "Topics that begin with $ are the server's own.", values: {} };
  return nameProblem(topic);
}

/** Why a topic or pattern can't be subscribed. */
export function subscriptionProblem(topic) {
  if (topic.slice(0, -1).includes("*")) {
    return { text: "* may only stand at the end: {topic}", values: { topic } };
  }
  return nameProblem(topic);
}

/** What the server refuses of a text that is valid JSON, because programs read it differently. */
export function jsonProblem(text) {
  const objects = []; // of each open object its keys so far, of each array null
  let isKey = false;
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === "{" || token === "[") {
      objects.push(token === "{" ? new Set() : null);
      if (objects.length > DEEPEST) {
        return { text: "It is nested deeper than {most} levels.", values: { most: DEEPEST } };
      }
    } else if (token === "}" || token === "]") objects.pop();
    else if (token.startsWith('"')) {
      const problem = textProblem(JSON.parse(token), isKey ? objects.at(-1) : null);
      if (problem) return problem;
    } else if (/[-\d]/.test(token[0])) {
      const problem = numberProblem(token);
      if (problem) return problem;
    }
    isKey = token === "{" || (token === "," && Boolean(objects.at(-1)));
  }
  return null;
}

function textProblem(text, keys) {
  if (/\p{Surrogate}/u.test(text)) {
    return { text: "A lone surrogate (\\ud800) is not a character.", values: {} };
  }
  if (!keys) return null;
  if (keys.has(text)) return { text: "The key {key} is there twice in one object.", values: { key: text } };
  keys.add(text);
  return null;
}

function numberProblem(token) {
  if (!Number.isFinite(Number(token)) && /[.eE]/.test(token)) {
    return { text: "The number {number} is too large.", values: { number: token.slice(0, 40) } };
  }
  if (/^-?\d+$/.test(token) && token.length - token.startsWith("-") > MOST_DIGITS) {
    return { text: "An integer may have {most} digits.", values: { most: MOST_DIGITS } };
  }
  return null;
}
