/** What all pages share: where one can go, the connection, the language and the theme. */
import { showConnection } from "./connection.js";
import { byId } from "./dom.js";
import { chooseLanguage, language, translate } from "./language.js";

/** Call it first: it translates the page, which must not hold data yet. */
export function openShell(client) {
  document.documentElement.lang = language;
  translate(document.documentElement);
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
}
