import { say } from "./language.js";
import { jsonProblem } from "./rules.js";

/** Why the server would not take a text as JSON, in the reader's language; "" when it does. */
export function jsonTextProblem(text, whenEmpty) {
  try {
    JSON.parse(text);
  } catch (error) {
    return say("Not valid JSON: {reason}", { reason: text.trim() === "" ? whenEmpty : error.message });
  }
  const problem = jsonProblem(text);
  return problem ? say(problem.text, problem.values) : "";
}
