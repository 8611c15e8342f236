/** English and French: the browser's wish, or what the reader chose. English texts are the keys. */
const KEY = "pubsub-language";
const ATTRIBUTES = ["aria-label", "data-label", "placeholder", "title"];

export const language = localStorage.getItem(KEY) ?? preferred(navigator.languages);
const texts = new Map(language === "fr" ? Object.entries((await import("../french/all.js")).default) : []);

/** Keeps a choice; the page is opened anew in that language. */
export function chooseLanguage(name) {
  localStorage.setItem(KEY, name);
  location.reload();
}

/** A text in the reader's language, its `{name}`s replaced by values. */
export function say(text, values = {}) {
  return (texts.get(text) ?? text).replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** Translates the texts of a page that are written in it; call it before there is data in it. */
export function translate(root) {
  if (language === "en") return;
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  for (let node = walker.currentNode; node; node = walker.nextNode()) {
    if (node.nodeType === Node.TEXT_NODE) translateText(node);
    else if (node.nodeType === Node.ELEMENT_NODE) translateElement(node);
  }
}

function translateText(node) {
  const text = node.data.trim();
  if (texts.has(text)) node.data = node.data.replace(text, () => texts.get(text));
}

function translateElement(element) {
  for (const name of ATTRIBUTES) {
    const text = element.getAttribute(name);
    if (texts.has(text)) element.setAttribute(name, texts.get(text));
  }
  if (element instanceof HTMLTemplateElement) translate(element.content);
}

function preferred(wishes) {
  const known = wishes.map((wish) => wish.slice(0, 2).toLowerCase());
  return known.find((name) => name === "fr" || name === "en") ?? "en";
}
