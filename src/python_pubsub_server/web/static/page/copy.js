/** Command lines that a page offers, and the buttons that copy them. */
import { claims, ownName, token } from "./access.js";
import { say } from "./language.js";

const JSON_HEADER = "-H 'Content-Type: application/json'";
const EXAMPLE = { topic: "notifications", message_id: "m-1", message: { text: "Hello" } };

const LINES = {
  publish: () => publishCommand(JSON.stringify({ ...EXAMPLE, producer: ownName("curl") })),
  clients: () => command("/clients"),
  consumptions: () => command("/consumptions"),
  token: () => "pubsub-server token --sub alice --admin --subscribe '*' --publish '*' --expires 8h",
  admin: () => `pubsub-server token --sub ${quoted(claims().sub ?? "alice")} --admin --subscribe '*' --expires 8h`,
};

/** The command that publishes a body, which is JSON, in a form that any shell takes as it is. */
export function publishCommand(body) {
  return `${command("/publish")} ${JSON_HEADER} -d '${body.replaceAll("'", "'\\''")}'`;
}

/** A word of a command line. */
function quoted(word) {
  return /^[\w@.-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** The token itself is in no line: lines are shown and pasted. */
function command(path) {
  const bearer = token() === null ? "" : ' -H "Authorization: Bearer $TOKEN"';
  return `curl ${location.origin}${path}${bearer}`;
}

/** Writes the lines into the `data-curl`s below an element. */
export function writeCommands(root) {
  for (const code of root.querySelectorAll("[data-curl]")) {
    code.textContent = LINES[code.dataset.curl]();
  }
}

/** Lets every `data-copy` button copy the code before it. */
export function watchCopyButtons() {
  document.addEventListener("click", async ({ target }) => {
    const button = target.closest("[data-copy]");
    if (!button) return;
    const copied = await copy(button.previousElementSibling);
    confirm(button, say(copied ? "Copied" : "Press Ctrl C"));
  });
}

/** Copies a text that the page need not show, and says so on the button. */
export async function copyText(text, button) {
  const holder = document.createElement("textarea");
  holder.value = text;
  holder.className = "visually-hidden";
  button.after(holder); // where the browser takes only what is selected
  const copied = await copy(holder);
  holder.remove();
  confirm(button, say(copied ? "Copied" : "Not copied"));
}

function confirm(button, text) {
  button.dataset.label ??= button.textContent;
  button.textContent = text;
  setTimeout(() => (button.textContent = button.dataset.label), 2_000);
}

/** Copies an element's text; where the browser forbids that (plain HTTP), selects it. */
async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.value ?? element.textContent);
    return true;
  } catch {
    if (element.select) element.select();
    else getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}
