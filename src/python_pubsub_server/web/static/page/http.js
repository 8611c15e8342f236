import { PubSubError } from "../client/errors.js";
import { headers, isRefusal, standing } from "./access.js";
import { say } from "./language.js";
import { lossless } from "./lossless.js";

const TIMEOUT_MS = 10_000;

/**
 * The JSON of a GET, and the address of the next page.
 * @returns {Promise<{rows: any, next: string | null}>} rejects with a PubSubError
 */
export function getJSON(url) {
  return ask(url);
}

/**
 * The JSON that a POST of a JSON body is answered with, as `rows`.
 * @returns {Promise<{rows: any, next: null}>} rejects with a PubSubError
 */
export function sendJSON(url, body) {
  const headers = { "Content-Type": "application/json" };
  return ask(url, { method: "POST", body: JSON.stringify(body), headers });
}

async function ask(url, request = {}) {
  let response;
  if (standing.rights === "refused") throw new PubSubError("unauthenticated", say("you are not signed in"));
  const asked = headers();
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    response = await fetch(url, {
      ...request,
      headers: { ...request.headers, ...asked },
      signal,
      cache: "no-store",
    });
  } catch (error) {
    const isLate = error.name === "TimeoutError";
    throw new PubSubError(
      isLate ? "timeout" : "unreachable",
      isLate ? say("no answer in {seconds} s", { seconds: TIMEOUT_MS / 1000 }) : say("the server does not answer"),
    );
  }
  const body = await read(response);
  if (!response.ok) {
    const { code = String(response.status), message = response.statusText } = body ?? {};
    const error = new PubSubError(code, message);
    // One that was asked with an older token says nothing of this one.
    if (isRefusal(error) && asked.Authorization === headers().Authorization) standing.become("refused", error);
    throw error;
  }
  return { rows: body, next: nextPage(response) };
}

async function read(response) {
  try {
    return lossless.parse(await response.text());
  } catch {
    if (!response.ok) return null; // a proxy's page; the status says enough
    throw new PubSubError("protocol", say("the server's answer is not JSON"));
  }
}

/** The `rel="next"` of a Link header (RFC 8288), if it stays on this server. */
function nextPage(response) {
  const found = /<([^>]*)>\s*;\s*rel="?next"?/.exec(response.headers.get("Link") ?? "");
  if (!found) return null;
  const next = new URL(found[1], response.url);
  return next.origin === location.origin ? next.href : null;
}
