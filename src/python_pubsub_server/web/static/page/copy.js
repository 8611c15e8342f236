/** Command lines that a page offers, and the buttons that copy them. */
import { say } from "./language.js";

const JSON_HEADER = "-H 'Content-Type: application/json'";
const EXAMPLE = JSON.stringify({
  topic: "notifications",
  message_id: "m-1",
  message: { text: "Hello" },
  producer: "curl",
});

const LINES = {
  publish: (origin) => `curl ${origin}/publish ${JSON_HEADER} -d '${EXAMPLE}'`,
  clients: (origin) => `curl ${origin}/clients`,
  consumptions: (origin) => `curl ${origin}/consumptions`,
};

/** Writes the lines into the `data-curl`s below an element. */
export function writeCommands(root) {
  for (const code of root.querySelectorAll("[data-curl]")) {
    code.textContent = LINES[code.dataset.curl](location.origin);
  }
}

/** Lets every `data-copy` button copy the code before it. */
export function watchCopyButtons() {
  document.addEventListener("click", async ({ target }) => {
    const button = target.closest("[data-copy]");
    if (!button) return;
    const copied = await copy(button.previousElementSibling);
    button.textContent = say(copied ? "Copied" : "Press Ctrl C");
    setTimeout(() => (button.textContent = say("Copy")), 2_000);
  });
}

/** Copies an element's text; where the browser forbids that (plain HTTP), selects it. */
async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}
