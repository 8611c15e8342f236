/** What all pages share: where one can go, the connection, who one is, the language and the theme. */
import { standing } from "./access.js";
import { showConnection } from "./connection.js";
import { watchCopyButtons, writeCommands } from "./copy.js";
import { byId } from "./dom.js";
import { chooseLanguage, language, translate } from "./language.js";
import { SignIn } from "./sign-in.js";

/** Call it first: it translates the page, which must not hold data yet. */
export function openShell(client, { asksForToken = true } = {}) {
  document.documentElement.lang = language;
  translate(document.documentElement);
  document.title = `${document.querySelector("h1").textContent} · Pub/Sub`;
  for (const link of document.querySelectorAll(".pages a")) {
    if (link.pathname === location.pathname) link.setAttribute("aria-current", "page");
  }
  const languages = byId("language");
  languages.value = language;
  languages.onchange = () => chooseLanguage(languages.value);
  const themes = byId("theme");
  themes.value = document.documentElement.dataset.theme;
  themes.onchange = () => {
    localStorage.setItem("pubsub-theme", themes.value);
    document.documentElement.dataset.theme = themes.value;
  };
  showConnection(client);
  if (asksForToken) new SignIn(client);
  writeCommands(document);
  standing.on("change", () => writeCommands(document)); // they say who one is
  watchCopyButtons();
}
